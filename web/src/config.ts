/** Who lets people in, as the gateway says. */
export interface Config {
  issuer: string;
  client_id: string;
}

/** Asked once, before anything is drawn; kept for a start without a network. */
export async function loadConfig(): Promise<Config> {
  try {
    const answer = await fetch("/config.json");
    if (!answer.ok) throw new Error(`config.json: ${answer.status}`);
    const text = await answer.text();
    localStorage.setItem("config", text);
    return JSON.parse(text) as Config;
  } catch (error) {
    const kept = localStorage.getItem("config");
    if (kept !== null) return JSON.parse(kept) as Config;
    throw error;
  }
}
