// An order's story as it happens: server-sent events, resumed behind the last one that was seen.
import { ErrorEvent as StreamError, EventSource } from "eventsource";
import { useEffect, useState } from "react";
import type { OrderEvent } from "./api/client";
import { useIdentity } from "./identity";

export type Connection = "connecting" | "live" | "waiting" | "ended" | "failed";

export interface Story {
  events: OrderEvent[];
  connection: Connection;
}

/** `events` with one more; one that is known already, or does not follow, changes nothing: the stream is asked again from the last. */
export function tell(events: OrderEvent[], event: OrderEvent): OrderEvent[] {
  return event.sequence === events.length + 1 ? [...events, event] : events;
}

/** Event names of the stream are the types of events: each is listened to. */
const TYPES = ["OrderPlaced", "OrderConfirmed", "OrderCancelled", "SagaStarted", "SagaStepRecorded", "SagaEnded"];
const PAUSE_MAX_MS = 10_000;

/** Follows the order until its story ends. */
export function useStory(id: string): Story {
  const identity = useIdentity();
  const [story, setStory] = useState<Story>({ events: [], connection: "connecting" });
  const { token, renew } = identity;
  useEffect(() => {
    let source: EventSource | null = null;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let gone = false;
    let last = 0;
    let failures = 0;
    setStory({ events: [], connection: "connecting" });
    const move = (connection: Connection) => setStory((old) => ({ ...old, connection }));
    const open = () => {
      source = new EventSource(`/v1/orders/${encodeURIComponent(id)}/events`, {
        fetch: async (input, init) => {
          const ask = (bearer: string | null) => {
            const headers = new Headers(init.headers);
            if (bearer !== null) headers.set("Authorization", `Bearer ${bearer}`);
            if (last > 0) headers.set("Last-Event-ID", String(last));
            return fetch(input as string, { ...(init as RequestInit), headers });
          };
          const answer = await ask(await token());
          return answer.status === 401 ? ask(await renew()) : answer;
        },
      });
      source.onopen = () => {
        failures = 0;
        move("live");
      };
      for (const type of TYPES) {
        source.addEventListener(type, (message) => {
          const event = JSON.parse(message.data as string) as OrderEvent;
          last = Math.max(last, event.sequence);
          setStory((old) => ({ events: tell(old.events, event), connection: "live" }));
        });
      }
      source.onerror = (error: StreamError) => {
        if (gone) return;
        if (error.code === 204) {
          source?.close();
          move("ended");
        } else if (error.code !== undefined && error.code >= 400 && error.code < 500 && error.code !== 429 && error.code !== 408) {
          source?.close();
          move("failed");
        } else if (source?.readyState === EventSource.CLOSED) {
          // refused for now: the library gives up where a browser's own would too
          failures += 1;
          move("waiting");
          timer = setTimeout(open, Math.min(500 * 2 ** failures, PAUSE_MAX_MS));
        } else {
          move("waiting");
        }
      };
    };
    const back = () => {
      if (gone || source?.readyState === EventSource.OPEN) return;
      source?.close();
      clearTimeout(timer);
      open();
    };
    addEventListener("online", back);
    open();
    return () => {
      gone = true;
      clearTimeout(timer);
      removeEventListener("online", back);
      source?.close();
    };
  }, [id, token, renew]);
  return story;
}
