use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use contract::{
    Categories, Code, Created, Fault, Json, NewProduct, NewProducts, Page, Pointer, Problem, Product, ProductQuery, headers, limits,
};
use inventory_domain::Units;
use inventory_domain::product::{Command, Entry, Label, LabelError, Product as State, Rejection};
use kafka::{Failure, Needs, Unit};
use values::Sku;

use super::{Http, answer, refused, request};
use crate::handlers::products::{decide, sku_stream};
use crate::store::{Rows, catalogue, catalogue::Search};
use crate::wire;

/// `GET /v1/products?after=&limit=&q=&category=&price_min=&price_max=`: products in SKU order.
pub(super) async fn list(http: Data<Http>, http_request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (path, query) = (http_request.path(), http_request.query_string());
    let page = read_page(&http, query).await.map_err(|problem| problem.with_instance(path))?;
    let mut response = HttpResponse::Ok();
    // Names and prices may be seconds old; what can really be had is decided when an order is placed.
    response.insert_header((header::CACHE_CONTROL, "public, max-age=2, stale-while-revalidate=10"));
    response.insert_header(("Cache-Tag", cache_tags(&page.data)));
    if let Some(link) = page.link(path, query) {
        response.insert_header((header::LINK, link));
    }
    Ok(response.json(page))
}

/// `GET /v1/categories`: what there is to browse by.
pub(super) async fn categories(http: Data<Http>, http_request: HttpRequest) -> Result<HttpResponse, Problem> {
    let units = http.units.clone();
    let read = http.bridge.run(async move { catalogue::categories(units.pool(), i64::from(limits::CATEGORIES_MAX)).await });
    let read = read.await.map_err(refused).and_then(|read| {
        read.map_err(|error| {
            tracing::warn!(error = %error, "read the categories");
            Problem::new(Code::Unavailable)
        })
    });
    let data = read.map_err(|problem| problem.with_instance(http_request.path()))?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, "public, max-age=30, stale-while-revalidate=300"));
    response.insert_header(("Cache-Tag", "catalogue"));
    Ok(response.json(Categories { data }))
}

/// Most products of a page that are tags of it; a header has to fit into the buffers of caches.
const TAGGED_MAX: usize = 100;

/// What a cache forgets the page by when it changes (`edge/varnish.vcl`, `edge/src/changed.rs`).
fn cache_tags(products: &[Product]) -> String {
    if products.len() > TAGGED_MAX {
        return "catalogue,many".to_owned();
    }
    let tags = products.iter().map(|product| format!(",sku:{}", product.sku));
    std::iter::once("catalogue".to_owned()).chain(tags).collect()
}

async fn read_page(http: &Http, query: &str) -> Result<Page<Product>, Problem> {
    let ProductQuery { page: query, text, category, price_min, price_max } = ProductQuery::parse(query)?;
    let after = match query.after {
        Some(after) => Sku::try_from(after.as_str()).map_err(|_not_a_sku| Problem::new(Code::InvalidCursor))?.to_string(),
        None => String::new(),
    };
    let search = Search { text, category, price_min, price_max };
    let units = http.units.clone();
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    // One more than asked for tells whether there is a next page.
    let most = i64::from(query.limit).saturating_add(1);
    let read = http.bridge.run(async move { catalogue::page(units.pool(), &search, &after, most).await });
    let mut data = read.await.map_err(refused)?.map_err(|error| {
        tracing::warn!(error = %error, "read a page of products");
        Problem::new(Code::Unavailable)
    })?;
    let more = data.len() > limit;
    data.truncate(limit);
    let next = if more { data.last().map(|product| product.sku.to_string()) } else { None };
    Ok(Page { data, next })
}

/// `POST /v1/products`: lists products, each with its first receipt. Products that are listed already get the new entry and no
/// receipt, and are not counted as created.
pub(super) async fn create(
    http: Data<Http>,
    http_request: HttpRequest,
    body: Result<Json<NewProducts>, Problem>,
) -> Result<HttpResponse, Problem> {
    let instance = |problem: Problem| problem.with_instance(http_request.path());
    let user = http.admit(&http_request).await.map_err(instance)?;
    let key = headers::idempotency_key(http_request.headers()).map_err(instance)?;
    let Json(body) = body?;
    let identity = request::identify(user.as_ref(), "POST /v1/products", &key, &body, trace::web::of(&http_request));
    let mut products = check(body.products).map_err(instance)?;
    // Every writer takes streams and SKU rows in the same order.
    products.sort_by(|left, right| left.sku.cmp(&right.sku));
    let units = http.units.clone();
    let work = async move {
        let needs = || {
            let mut needs = Needs::<Rows>::default();
            for Listing { sku, .. } in &products {
                needs.stream(sku_stream(sku));
                needs.work.skus.insert(sku.to_string());
            }
            needs
        };
        let source = wire::request(&identity);
        request::once(&units, &identity, needs, |unit| Ok(Ok(list_all(unit, &products, &source)?))).await
    };
    answer(http.bridge.run(work).await.map_err(refused).map_err(instance)?, HttpResponse::Created()).map_err(instance)
}

struct Listing {
    sku: Sku,
    entry: Entry,
    first_receipt: Units,
}

fn check(products: Vec<NewProduct>) -> Result<Vec<Listing>, Problem> {
    let listings = products.into_iter().enumerate().map(|(index, product)| {
        let label = |text: String, field: &str| {
            Label::try_from(text).map_err(|error: LabelError| {
                let pointer = Pointer::root().entry(index).member(field);
                Problem::of_faults(vec![Fault::new(pointer, Code::InvalidText, error.to_string())])
            })
        };
        let entry = Entry {
            name: label(product.name, "name")?,
            category: label(product.category, "category")?,
            brand: label(product.brand, "brand")?,
            price: product.price,
        };
        // A receipt of 32 bits fits by far.
        let first_receipt = Units::try_from(i64::from(product.stock)).unwrap_or(Units::MAX);
        Ok(Listing { sku: product.sku, entry, first_receipt })
    });
    listings.collect()
}

fn list_all(unit: &mut Unit<Rows>, products: &[Listing], source: &schemas::inventory::Idempotency) -> Result<Created, Failure> {
    let mut created = 0_u64;
    for Listing { sku, entry, first_receipt } in products {
        let new = matches!(unit.state(&sku_stream(sku))?, State::Unlisted);
        let command = Command::List { entry: entry.clone(), first_receipt: *first_receipt };
        if let Err(rejection) = decide(unit, sku, &command, Some(source))? {
            return Err(unexpected(sku, rejection));
        }
        created = created.saturating_add(u64::from(new));
    }
    Ok(Created { created })
}

/// The body's checks leave nothing for the domain to refuse.
fn unexpected(sku: &Sku, rejection: Rejection) -> Failure {
    Failure::permanent("listing_refused", format!("list sku {sku}: {rejection}"))
}
