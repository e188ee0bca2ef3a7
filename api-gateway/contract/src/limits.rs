//! Every limit of the HTTP interface, in one place.

/// Most bytes of a body, except for lists.
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Most bytes of a list of products or stock receipts.
pub const LIST_BODY_BYTES_MAX: usize = 1024 * 1024;
/// Most lines of an order.
pub const ORDER_LINES_MAX: usize = 200;
/// Most entries of a list of products, receipts or SKUs.
pub const LIST_ENTRIES_MAX: usize = 1_000;
/// Largest price of one unit, in minor units.
pub const PRICE_MINOR_MAX: i64 = 1_000_000_000;
/// Largest number of units of one receipt.
pub const STOCK_UNITS_MAX: u32 = 1_000_000_000;
/// Longest name of a product or a person, in characters.
pub const NAME_CHARACTERS_MAX: usize = 200;
/// Longest address of an order, in characters.
pub const ADDRESS_CHARACTERS_MAX: usize = 500;
/// Longest e-mail address, in characters. Source: RFC 5321, 4.5.3.1.3, less its angle brackets.
pub const EMAIL_CHARACTERS_MAX: usize = 254;
/// Longest category or brand, in characters.
pub const LABEL_CHARACTERS_MAX: usize = 100;
/// Longest text, category or other word of a search, in characters.
pub const SEARCH_CHARACTERS_MAX: usize = 100;
/// Longest wait of `Prefer: wait`, in seconds; below what the gateway waits for a service.
pub const WAIT_SECONDS_MAX: u64 = 8;
/// How long an answer of `Prefer: ack=published` waits for the relay; below what the gateway waits for a service.
pub const PUBLISHED_WITHIN: std::time::Duration = std::time::Duration::from_secs(5);
/// Most events of one answer; an order has about a dozen.
pub const EVENTS_MAX: u32 = 500;
/// Orders on a page that does not say how many.
pub const ORDERS_PAGE_DEFAULT: u32 = 20;
/// Most orders on a page.
pub const ORDERS_PAGE_MAX: u32 = 100;
/// Most categories of one answer; the real catalogue has 308.
pub const CATEGORIES_MAX: u32 = 1_000;
/// Products on a page that does not say how many.
pub const PRODUCTS_PAGE_DEFAULT: u32 = 100;
/// Most products on a page.
pub const PRODUCTS_PAGE_MAX: u32 = 1_000;
