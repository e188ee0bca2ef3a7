use contract::{Code, OrderCursor, Page, PageQuery, ProductQuery};
use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

fn refused(query: &str) -> Code {
    ProductQuery::parse(query).unwrap_err().code()
}

#[test]
fn limit_and_after_are_optional_and_bounded() {
    assert_eq!(ProductQuery::parse("").unwrap().page, PageQuery { limit: 100, after: None });
    assert_eq!(PageQuery::orders("after=&limit=").unwrap_err().code(), Code::LimitOutOfRange);
    assert_eq!(ProductQuery::parse("after=&limit=5").unwrap().page, PageQuery { limit: 5, after: None });
    assert_eq!(ProductQuery::parse("limit=1000&after=a%2Db").unwrap().page, PageQuery { limit: 1000, after: Some("a-b".to_owned()) });
    for query in ["limit=0", "limit=1001", "limit=-1", "limit=x", "limit=1.5", "limit=99999999999999999999"] {
        assert_eq!(refused(query), Code::LimitOutOfRange, "{query}");
    }
    for query in ["limits=5", "limit=5&limit=6", "after=a&after=b", "offset=3"] {
        assert_eq!(refused(query), Code::InvalidQuery, "{query}");
    }
}

#[test]
fn a_search_is_by_text_category_and_price() {
    let query = ProductQuery::parse("q=green%20tea&category=drinks&price_min=0&price_max=900&limit=5").unwrap();
    assert_eq!((query.text.as_deref(), query.category.as_deref()), (Some("green tea"), Some("drinks")));
    assert_eq!((query.price_min, query.price_max, query.page.limit), (Some(0), Some(900), 5));
    let empty = ProductQuery::parse("q=&category=&price_min=&after=").unwrap();
    assert_eq!(empty, ProductQuery::parse("").unwrap());
    let long = format!("q={}", "x".repeat(101));
    for query in ["price_min=-1", "price_max=x", "price_min=1.5", "q=a%00", "q=a&q=b", "text=a", long.as_str()] {
        assert_eq!(refused(query), Code::InvalidQuery, "{query}");
    }
}

#[test]
fn a_page_links_to_the_next_one_with_the_same_search() {
    let page = |next: Option<&str>| Page::<u8> { data: Vec::new(), next: next.map(str::to_owned) };
    assert_eq!(page(None).link("/v1/products", "q=tea"), None);
    assert_eq!(page(Some("b")).link("/v1/products", "").unwrap(), r#"</v1/products?after=b>; rel="next""#);
    assert_eq!(
        page(Some("b")).link("/v1/products", "q=tea&after=a&limit=2").unwrap(),
        r#"</v1/products?q=tea&limit=2&after=b>; rel="next""#
    );
}

proptest! {
    #[test]
    fn a_cursor_round_trips(micros in -60_000_000_000_000_000_i64..200_000_000_000_000_000, id: u128) {
        let placed_at = Timestamp::from_microsecond(micros).unwrap();
        let cursor = OrderCursor { placed_at, id: Uuid::from_u128(id).into() };
        prop_assert_eq!(OrderCursor::decode(&cursor.encode()).unwrap(), cursor);
    }

    #[test]
    fn what_is_no_cursor_is_refused(text in "\\PC{0,60}") {
        if let Err(problem) = OrderCursor::decode(&text) {
            prop_assert_eq!(problem.code(), Code::InvalidCursor);
        } else {
            prop_assert_eq!(text.len(), 50);
        }
    }

    #[test]
    fn no_query_panics(query in "\\PC{0,60}") {
        if let Ok(page) = PageQuery::orders(&query) {
            prop_assert!((1..=100).contains(&page.limit));
        }
    }
}

#[test]
fn a_cursor_of_another_version_is_refused() {
    let cursor = OrderCursor { placed_at: Timestamp::UNIX_EPOCH, id: Uuid::nil().into() }.encode();
    let other = cursor.replacen("01", "02", 1);
    for text in ["", "01", other.as_str(), cursor.trim_end_matches("00"), &format!("{cursor}00")] {
        assert_eq!(OrderCursor::decode(text).unwrap_err().code(), Code::InvalidCursor, "{text}");
    }
}
