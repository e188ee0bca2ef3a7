import { Component, type ReactNode } from "react";

/** Where a view fails, and where a part of the application is asked for that a newer build has replaced: the page says so and loads anew. */
export class Mishap extends Component<{ children: ReactNode }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  override render() {
    if (!this.state.failed) return this.props.children;
    return (
      <section role="alert">
        <h1>This view did not load</h1>
        <p>The shop may have been renewed meanwhile, or the network is gone. Your basket and your orders are as they were.</p>
        <button type="button" className="primary" onClick={() => location.reload()}>
          Load the page again
        </button>
      </section>
    );
  }
}
