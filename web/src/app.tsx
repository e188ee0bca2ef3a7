import { lazy, type ReactNode, Suspense, useEffect, useSyncExternalStore } from "react";
import { Link, Route, Switch, useLocation } from "wouter";
import { basket } from "./basket";
import { useIdentity } from "./identity";
import { Mishap } from "./mishap";
import { Basket } from "./pages/basket";
import { Catalogue } from "./pages/catalogue";
import { History } from "./pages/history";
import { OrderPage } from "./pages/order";
import { ThemeChoice } from "./theme";

// customers never load it
const Console = lazy(() => import("./console/console"));

function listenNetwork(changed: () => void): () => void {
  addEventListener("online", changed);
  addEventListener("offline", changed);
  return () => {
    removeEventListener("online", changed);
    removeEventListener("offline", changed);
  };
}

export function useOnline(): boolean {
  return useSyncExternalStore(listenNetwork, () => navigator.onLine);
}

export function App() {
  const online = useOnline();
  const { may } = useIdentity();
  const [path] = useLocation();
  useFocusOnNavigation();
  return (
    <>
      <a className="skip" href="#main">
        Skip to the content
      </a>
      <header className="top">
        <Link href="/" className="brand">
          <img src="/icon.svg" alt="" width="28" height="28" />
          Orders
        </Link>
        <nav aria-label="Main">
          <Place href="/">Shop</Place>
          <BasketPlace />
          <Place href="/orders">My orders</Place>
          {may("ops:read") && <Place href="/console">Console</Place>}
        </nav>
        <div className="who">
          <ThemeChoice />
          <Who />
        </div>
      </header>
      <div role="status" aria-live="polite">
        {!online && <p className="notice warn">You are offline. Your basket is kept here; orders go on without this page, and it catches up by itself.</p>}
      </div>
      <main id="main" tabIndex={-1}>
        <Mishap key={path}>
          <Switch>
            <Route path="/" component={Catalogue} />
            <Route path="/basket" component={Basket} />
            <Route path="/orders">
              <SignedIn why="to see your orders">
                <History />
              </SignedIn>
            </Route>
            <Route path="/orders/:id">
              {({ id }) => (
                <SignedIn why="to see this order">
                  <OrderPage id={id} key={id} />
                </SignedIn>
              )}
            </Route>
            <Route path="/console/*?">
              <SignedIn why="as an operator">
                {may("ops:read") ? (
                  <Suspense fallback={<p>Loading the console…</p>}>
                    <Console />
                  </Suspense>
                ) : (
                  <section>
                    <h1>Console</h1>
                    <p>The console is for operators. You are signed in as a customer.</p>
                  </section>
                )}
              </SignedIn>
            </Route>
            <Route>
              <section>
                <h1>There is no such page</h1>
                <p>
                  <Link href="/">Go to the shop</Link>
                </p>
              </section>
            </Route>
          </Switch>
        </Mishap>
      </main>
    </>
  );
}

/** Who moves by keyboard or hears the page starts at the new content. */
function useFocusOnNavigation() {
  const [path] = useLocation();
  useEffect(() => {
    const heading = document.querySelector("main h1")?.textContent;
    document.title = heading ? `${heading} · Orders` : "Orders";
    if (first) first = false;
    else document.getElementById("main")?.focus({ preventScroll: false });
  }, [path]);
}
let first = true;

function Place({ href, children }: { href: string; children: ReactNode }) {
  const [path] = useLocation();
  const here = href === "/" ? path === "/" : path.startsWith(href);
  return (
    <Link href={href} aria-current={here ? "page" : undefined}>
      {children}
    </Link>
  );
}

function BasketPlace() {
  const lines = basket.use();
  return (
    <Place href="/basket">
      Basket
      {lines.length > 0 && (
        <>
          {" "}
          <span className="count">
            {lines.length}
            <span className="hidden"> products</span>
          </span>
        </>
      )}
    </Place>
  );
}

function Who() {
  const { user, subject, signIn, signOut } = useIdentity();
  if (user === null) {
    return (
      <button type="button" onClick={() => void signIn()}>
        Sign in
      </button>
    );
  }
  return (
    <>
      <span className="name">{user.profile.name ?? user.profile.preferred_username ?? subject}</span>
      <button type="button" onClick={() => void signOut()}>
        Sign out
      </button>
    </>
  );
}

function SignedIn({ why, children }: { why: string; children: ReactNode }) {
  const { user, signIn } = useIdentity();
  if (user !== null) return children;
  return (
    <section>
      <h1>Sign in</h1>
      <p>Sign in {why}.</p>
      <button type="button" className="primary" onClick={() => void signIn()}>
        Sign in
      </button>
    </section>
  );
}
