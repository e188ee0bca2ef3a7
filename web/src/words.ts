// What the system says, in words for a person.
import type { Money, Order, OrderEvent } from "./api/client";

/** An amount in the reader's own writing. */
export function money({ minor, currency }: Money): string {
  const format = new Intl.NumberFormat(undefined, { style: "currency", currency });
  const digits = format.resolvedOptions().maximumFractionDigits ?? 2;
  return format.format(minor / 10 ** digits);
}

export function instant(at: string): string {
  return new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

export const STATUS: Record<Order["status"], string> = {
  PENDING: "In progress",
  CONFIRMED: "Confirmed",
  CANCELLED: "Cancelled",
  STUCK: "Needs our attention",
};

export const REASON: Record<NonNullable<Order["reason"]>, string> = {
  out_of_stock: "Something in it is out of stock. Nothing was charged.",
  payment_declined: "The card was declined. Nothing was charged, and what was reserved is free again.",
  deadline: "It took too long and was given up. Nothing was charged.",
  cancelled_by_customer: "You cancelled it. Nothing was charged.",
  failed: "Something failed on our side and the order was undone. Nothing was charged.",
};

/** What the status means for the one who waits. */
export function explain(order: Order): string {
  switch (order.status) {
    case "PENDING":
      return "We are reserving the goods and asking your bank. This page follows it by itself.";
    case "CONFIRMED":
      return "Everything is reserved and paid. Thank you.";
    case "CANCELLED":
      return order.reason === null ? "It was cancelled." : REASON[order.reason];
    case "STUCK":
      return "It is paid for or reserved, and one step does not go on. A person has been told and will move it on.";
  }
}

const STEPS: Record<string, string> = { hold: "Stock", authorize: "Card", capture: "Payment", commit: "Handing over" };

const STATES: Record<string, string> = {
  sent: "asked for",
  done: "done",
  refused: "refused",
  failed: "failed",
  expired: "took too long",
  cancelled: "called off",
  in_doubt: "being checked",
  undoing: "being undone",
  undone: "undone",
  stuck: "does not go on",
  undo_stuck: "cannot be undone yet",
  abandoned: "given up by an operator",
};

const EVENTS: Record<string, string> = {
  OrderPlaced: "Order placed",
  OrderConfirmed: "Order confirmed",
  OrderCancelled: "Order cancelled",
  OrderCancelRequested: "Cancellation asked for",
  SagaEnded: "All done",
};

function plain(name: string): string {
  const spaced = name.replaceAll(/[_-]/g, " ").replaceAll(/([a-z])([A-Z])/g, "$1 $2").toLowerCase();
  return spaced.charAt(0).toUpperCase() + spaced.slice(1);
}

/** One thing that happened, in one line. */
export function eventLine(event: OrderEvent): string {
  const reason = event.reason == null ? "" : ` (${plain(event.reason).toLowerCase()})`;
  if (event.type === "SagaStarted") return `${STEPS[event.step ?? ""] ?? "Work"}: asked for`;
  if (event.step != null) {
    const step = STEPS[event.step] ?? plain(event.step);
    return `${step}: ${event.state == null ? plain(event.type).toLowerCase() : (STATES[event.state] ?? plain(event.state).toLowerCase())}${reason}`;
  }
  return (EVENTS[event.type] ?? plain(event.type)) + reason;
}
