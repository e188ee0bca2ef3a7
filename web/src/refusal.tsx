import { Problem } from "./api/client";

/** Why something could not be done, with the page that explains it. */
export function Refusal({ error, what }: { error: unknown; what: string }) {
  const problem = error instanceof Problem ? error : null;
  return (
    <div role="alert" className="notice bad">
      <p>
        <strong>{what}</strong> {problem === null ? "It could not be reached. Check your network." : problem.message}
      </p>
      {problem?.body.errors !== undefined && (
        <ul>
          {problem.body.errors.map((fault) => (
            <li key={fault.pointer}>
              <code>{fault.pointer}</code> {fault.detail}
            </li>
          ))}
        </ul>
      )}
      {problem !== null && problem.code !== "unknown" && (
        <p>
          <a href={`/problems/${problem.code}`}>What “{problem.code}” means</a>
        </p>
      )}
    </div>
  );
}
