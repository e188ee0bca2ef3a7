export default function Console() {
  return (
    <section>
      <h1>Console</h1>
    </section>
  );
}
