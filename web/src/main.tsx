import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Problem } from "./api/client";
import { App } from "./app";
import { loadConfig } from "./config";
import { finishSignIn, IdentityProvider, makeManager } from "./identity";
import "./style.css";

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      staleTime: 5_000,
      // what was refused is refused again; what did not arrive is asked again
      retry: (count, error) => count < 3 && !(error instanceof Problem && error.status < 500 && error.status !== 429),
    },
  },
});

async function start(root: HTMLElement): Promise<void> {
  const manager = makeManager(await loadConfig());
  const to = await finishSignIn(manager);
  if (to !== null) history.replaceState(null, "", to);
  const user = await manager.getUser();
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <IdentityProvider manager={manager} first={user}>
          <App />
        </IdentityProvider>
      </QueryClientProvider>
    </StrictMode>,
  );
}

const root = document.getElementById("root");
if (root !== null) {
  start(root).catch(() => {
    root.textContent = "The shop cannot be reached. Check your network, then load this page again.";
  });
}
