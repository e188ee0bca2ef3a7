// Signing in: OpenID Connect, authorization code with PKCE, refresh, sign-out (oidc-client-ts: a certified protocol is not ours to write again).
import { type User, UserManager, WebStorageStateStore } from "oidc-client-ts";
import { createContext, type ReactNode, useContext, useEffect, useMemo, useState } from "react";
import type { Config } from "./config";

/** What the storefront and the console ask for; the provider gives each person what its role allows. */
const SCOPE = "openid orders:read orders:write ops:read ops:write";
/** Who was let in and came back is shown where it was. */
const CALLBACK = "/signed-in";

export interface Ways {
  /** Goes to the provider; comes back to `to`. */
  signIn: (to?: string) => Promise<void>;
  signOut: () => Promise<void>;
  /** A token that is still good, refreshed when it is about to end; null when nobody is signed in. */
  token: () => Promise<string | null>;
  /** The token was refused: ask for another one, once. */
  renew: () => Promise<string | null>;
}

export interface Identity extends Ways {
  user: User | null;
  /** The subject, as the services know the customer. */
  subject: string | null;
  may: (scope: string) => boolean;
}

const Context = createContext<Identity | null>(null);

export function useIdentity(): Identity {
  const identity = useContext(Context);
  if (identity === null) throw new Error("used outside of IdentityProvider");
  return identity;
}

/** What a JWT says; nothing where the token is opaque. Only the services decide by it, the page only hides what would be refused. */
export function claims(token: string): Record<string, unknown> {
  try {
    const part = token.split(".")[1] ?? "";
    const bytes = Uint8Array.from(atob(part.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes)) as Record<string, unknown>;
  } catch {
    return {};
  }
}

/** The scopes a token allows. */
export function scopes(token: string | undefined): string[] {
  const scope = token === undefined ? undefined : claims(token)["scope"];
  return typeof scope === "string" ? scope.split(" ") : [];
}

export function makeManager(config: Config): UserManager {
  return new UserManager({
    authority: config.issuer,
    client_id: config.client_id,
    redirect_uri: `${location.origin}${CALLBACK}`,
    post_logout_redirect_uri: `${location.origin}/`,
    scope: SCOPE,
    // this tab's own: closed with it, never on the disk of a shared computer
    userStore: new WebStorageStateStore({ store: sessionStorage }),
    stateStore: new WebStorageStateStore({ store: sessionStorage }),
    automaticSilentRenew: true,
    monitorSession: false,
  });
}

/** Ends a sign-in when the page is where the provider sends people back to; the path to go on at, or null. */
export async function finishSignIn(manager: UserManager): Promise<string | null> {
  if (location.pathname !== CALLBACK) return null;
  try {
    const user = await manager.signinRedirectCallback();
    return typeof user.state === "string" && user.state.startsWith("/") ? user.state : "/";
  } catch {
    // came by an old link or the back button: nothing to finish
    return "/";
  }
}

export function IdentityProvider({ manager, first, children }: { manager: UserManager; first: User | null; children: ReactNode }) {
  const [user, setUser] = useState(first);
  useEffect(() => {
    const loaded = (next: User) => setUser(next);
    const gone = () => setUser(null);
    manager.events.addUserLoaded(loaded);
    manager.events.addUserUnloaded(gone);
    return () => {
      manager.events.removeUserLoaded(loaded);
      manager.events.removeUserUnloaded(gone);
    };
  }, [manager]);
  // the same functions as long as the page lives: a renewed token starts nothing anew
  const ways = useMemo(() => waysOf(manager), [manager]);
  const identity = useMemo<Identity>(() => {
    const granted = scopes(user?.access_token);
    return { ...ways, user, subject: user === null ? null : user.profile.sub, may: (scope) => granted.includes(scope) };
  }, [ways, user]);
  return <Context value={identity}>{children}</Context>;
}

function waysOf(manager: UserManager): Ways {
  let renewing: Promise<string | null> | null = null;
  const renew = () => {
    renewing ??= manager
      .signinSilent()
      .then((next) => next?.access_token ?? null)
      .catch(async (error: unknown) => {
        // without a network nobody is signed out; a refusal of the provider does
        if (error instanceof TypeError || !navigator.onLine) throw error;
        await manager.removeUser();
        return null;
      })
      .finally(() => {
        renewing = null;
      });
    return renewing;
  };
  return {
    renew,
    signIn: (to = location.pathname + location.search) => manager.signinRedirect({ state: to }),
    signOut: async () => {
      await manager.signoutRedirect().catch(() => manager.removeUser());
    },
    token: async () => {
      const current = await manager.getUser();
      if (current === null) return null;
      return current.expired === true || (current.expires_in ?? 60) < 10 ? renew() : current.access_token;
    },
  };
}
