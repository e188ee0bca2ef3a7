import { useEffect } from "react";
import { Kept } from "./kept";

type Theme = "auto" | "light" | "dark";
const NEXT: Record<Theme, Theme> = { auto: "light", light: "dark", dark: "auto" };
const NAME: Record<Theme, string> = { auto: "as the system", light: "light", dark: "dark" };

const theme = new Kept<Theme>("theme", (stored) => (stored === "light" || stored === "dark" ? stored : "auto"));

/** Light, dark, or as the system says. */
export function ThemeChoice() {
  const chosen = theme.use();
  useEffect(() => {
    document.documentElement.style.colorScheme = chosen === "auto" ? "" : chosen;
  }, [chosen]);
  return (
    <button type="button" className="quiet" onClick={() => theme.set(NEXT[chosen])} aria-label={`Colours: ${NAME[chosen]}. Change`}>
      <span aria-hidden="true">◐</span>
    </button>
  );
}
