use std::{collections::HashSet, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, SeqAccess, Visitor, value},
};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema, schema::AdditionalProperties},
};
use values::{Currency, Money, Sku};

use crate::{Body, Canonical, Code, Faults, Pointer, limits, schema};

/// Body of `POST /v1/products`: a bare list, or `{"products": list}`; products to create, each with its first receipt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct NewProducts {
    /// 1 to 1,000 products, each SKU once.
    pub products: Vec<NewProduct>,
}

impl PartialSchema for NewProducts {
    fn schema() -> RefOr<Schema> {
        let list = || {
            let list = ArrayBuilder::new().items(Ref::from_schema_name("NewProduct"));
            list.min_items(Some(1)).max_items(Some(limits::LIST_ENTRIES_MAX))
        };
        let envelope = ObjectBuilder::new().property("products", list()).required("products");
        let envelope = envelope.additional_properties(Some(AdditionalProperties::<Schema>::FreeForm(false)));
        OneOfBuilder::new().item(list()).item(envelope).into()
    }
}

impl ToSchema for NewProducts {}

/// A product to create.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProduct {
    /// Its SKU.
    #[schema(value_type = schema::Sku)]
    pub sku: Sku,
    /// Its name; at most 200 characters, may be empty.
    #[schema(max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    pub name: String,
    /// Its category; at most 100 characters, empty where unknown.
    #[schema(max_length = 100, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    pub category: String,
    /// Its brand; at most 100 characters, empty where unknown.
    #[schema(max_length = 100, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    pub brand: String,
    /// Price of one unit, 1 to 10^9 minor units.
    #[schema(value_type = schema::Price)]
    pub price: Money,
    /// Units of the first receipt, 0 to 10^9.
    #[schema(minimum = 0, maximum = 1000000000)]
    pub stock: u32,
}

impl Body for NewProducts {
    const BYTES_MAX: usize = limits::LIST_BODY_BYTES_MAX;
    type Wire = wire::Products;

    fn check(wire: Self::Wire, faults: &mut Faults) -> Option<Self> {
        let place = wire.place();
        let list = wire.into_list();
        check_count(list.len(), &place, faults)?;
        let mut seen = HashSet::with_capacity(list.len());
        let products = list.into_iter().enumerate();
        let products = products.map(|(index, product)| check_product(product, &place.entry(index), &mut seen, faults));
        // Collected whole before it is judged, so that every fault is named.
        let products: Vec<Option<NewProduct>> = products.collect();
        Some(Self { products: products.into_iter().collect::<Option<_>>()? })
    }

    fn feed(&self, canonical: &mut Canonical) {
        canonical.text("new-products/1");
        canonical.count(self.products.len());
        for product in &self.products {
            canonical.text(product.sku.as_str());
            canonical.text(&product.name);
            canonical.text(&product.category);
            canonical.text(&product.brand);
            canonical.number(product.price.minor());
            canonical.text(product.price.currency().as_str());
            canonical.number(i64::from(product.stock));
        }
    }
}

/// Refuses an empty list and one that is too long.
pub(crate) fn check_count(count: usize, place: &Pointer, faults: &mut Faults) -> Option<()> {
    match count {
        0 => faults.add(place.clone(), Code::EmptyList, "the list has at least one entry"),
        1..=limits::LIST_ENTRIES_MAX => return Some(()),
        _ => faults.add(place.clone(), Code::TooManyItems, format_args!("the list has at most {} entries", limits::LIST_ENTRIES_MAX)),
    }
    None
}

/// A SKU that is valid and new in its list.
pub(crate) fn check_sku(sku: String, place: &Pointer, seen: &mut HashSet<Sku>, faults: &mut Faults) -> Option<Sku> {
    let sku = faults.keep(Sku::try_from(sku), || place.clone(), Code::InvalidSku)?;
    if !seen.insert(sku.clone()) {
        faults.add(place.clone(), Code::DuplicateSku, "an earlier entry has this SKU");
    }
    Some(sku)
}

/// A number of units in `min..=10^9`.
pub(crate) fn check_units(units: i64, min: u32, place: &Pointer, faults: &mut Faults) -> Option<u32> {
    match u32::try_from(units) {
        Ok(units) if (min..=limits::STOCK_UNITS_MAX).contains(&units) => Some(units),
        Ok(_) | Err(_) => {
            faults.add(place.clone(), Code::StockOutOfRange, format_args!("units are not {min} to {}", limits::STOCK_UNITS_MAX));
            None
        }
    }
}

fn check_product(product: wire::Product, at: &Pointer, seen: &mut HashSet<Sku>, faults: &mut Faults) -> Option<NewProduct> {
    let sku = check_sku(product.sku, &at.member("sku"), seen, faults);
    let name = check_text(product.name, limits::NAME_CHARACTERS_MAX, &at.member("name"), faults);
    let category = check_text(product.category, limits::LABEL_CHARACTERS_MAX, &at.member("category"), faults);
    let brand = check_text(product.brand, limits::LABEL_CHARACTERS_MAX, &at.member("brand"), faults);
    let price = check_price(&product.price, &at.member("price"), faults);
    let stock = check_units(product.stock.0, 0, &at.member("stock"), faults);
    Some(NewProduct { sku: sku?, name: name?, category: category?, brand: brand?, price: price?, stock: stock? })
}

fn check_price(price: &wire::Price, at: &Pointer, faults: &mut Faults) -> Option<Money> {
    let minor = price.minor.0;
    let in_range = (1..=limits::PRICE_MINOR_MAX).contains(&minor);
    if !in_range {
        let detail = format_args!("price is not 1 to {} minor units", limits::PRICE_MINOR_MAX);
        faults.add(at.member("minor"), Code::PriceOutOfRange, detail);
    }
    let currency = price.currency.parse::<Currency>();
    let currency = faults.keep(currency, || at.member("currency"), Code::InvalidCurrency)?;
    in_range.then(|| Money::new(minor, currency))
}

/// Control characters are refused: nobody reads them, and PostgreSQL does not store U+0000.
fn check_text(text: String, characters_max: usize, place: &Pointer, faults: &mut Faults) -> Option<String> {
    if text.chars().nth(characters_max).is_some() {
        faults.add(place.clone(), Code::InvalidText, format_args!("text is longer than {characters_max} characters"));
        return None;
    }
    if text.chars().any(char::is_control) {
        faults.add(place.clone(), Code::InvalidText, "text has control characters");
        return None;
    }
    Some(text)
}

/// The JSON of a products body before its values are checked.
pub(crate) mod wire {
    use super::{Deserialize, Deserializer, MapAccess, Pointer, SeqAccess, Visitor, fmt, value};
    use crate::decode::Whole;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Product {
        pub(super) sku: String,
        pub(super) name: String,
        pub(super) category: String,
        pub(super) brand: String,
        pub(super) price: Price,
        pub(super) stock: Whole,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub(crate) struct Price {
        pub(super) minor: Whole,
        pub(super) currency: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Envelope {
        products: Vec<Product>,
    }

    /// Either form of the list, kept apart because pointers into it differ.
    #[derive(Debug)]
    pub enum Products {
        Bare(Vec<Product>),
        Enveloped(Envelope),
    }

    impl Products {
        pub(super) fn place(&self) -> Pointer {
            match self {
                Self::Bare(_) => Pointer::root(),
                Self::Enveloped(_) => Pointer::root().member("products"),
            }
        }

        pub(super) fn into_list(self) -> Vec<Product> {
            match self {
                Self::Bare(products) => products,
                Self::Enveloped(envelope) => envelope.products,
            }
        }
    }

    impl<'de> Deserialize<'de> for Products {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(EitherForm)
        }
    }

    struct EitherForm;

    impl<'de> Visitor<'de> for EitherForm {
        type Value = Products;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of products")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<Products, A::Error> {
            Deserialize::deserialize(value::SeqAccessDeserializer::new(access)).map(Products::Bare)
        }

        fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<Products, A::Error> {
            Deserialize::deserialize(value::MapAccessDeserializer::new(access)).map(Products::Enveloped)
        }
    }
}

/// Answer to `POST /v1/products`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Created {
    /// How many products the request created.
    pub created: u64,
}

/// Answer to `GET /v1/categories`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Categories {
    /// Categories with products in them, by name; at most [`limits::CATEGORIES_MAX`], the largest where there are more.
    pub data: Vec<Category>,
}

/// A category of products.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Category {
    /// Its name; empty for products without one.
    pub name: String,
    /// How many products are in it.
    pub products: u64,
}

/// A product as the API lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Product {
    /// Its SKU.
    #[schema(value_type = schema::Sku)]
    pub sku: Sku,
    /// Its name.
    pub name: String,
    /// Its category; empty where unknown.
    pub category: String,
    /// Its brand; empty where unknown.
    pub brand: String,
    /// Price of one unit.
    #[schema(value_type = schema::Money)]
    pub price: Money,
    /// Units that can be ordered now.
    pub available: i64,
}
