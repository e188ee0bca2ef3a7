//! The grocery baskets: reading them, and which of them must be refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde::Deserialize;

/// Most units one line may ask for. Source: the order interface.
const QUANTITY_MAX: u64 = 1_000_000;
/// Most lines of one order. Source: the order interface.
const LINES_MAX: usize = 200;
/// Share of January's sales that is in stock at first: less than all of it, so that shortages are real.
const STOCK_PERCENT: u64 = 95;

/// One product of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Product {
    /// Key, named by basket lines.
    pub sku: String,
    /// National or Private.
    pub brand: String,
    /// Kind of product; may be empty.
    pub category: String,
    /// Finer kind; may be empty.
    #[serde(rename = "type")]
    pub kind: String,
    /// Package; may be empty.
    pub size: String,
    /// Department of the shop.
    pub department: String,
    /// US cents a unit.
    pub list_price_minor: i64,
    /// Units sold in January 2017.
    pub sold_january: u64,
}

impl Product {
    /// Units to start with: 95 % of January's sales, at least 1.
    #[must_use]
    pub fn initial_stock(&self) -> u64 {
        (self.sold_january.saturating_mul(STOCK_PERCENT) / 100).max(1)
    }

    /// What a person would call it; never empty.
    #[must_use]
    pub fn name(&self) -> String {
        let kind = [&self.kind, &self.category, &self.department].into_iter().find(|text| !text.trim().is_empty()).unwrap_or(&self.sku);
        format!("{} {}", kind.trim(), self.size.trim()).trim_end().to_owned()
    }

    /// Its category, or its department when that is unknown.
    #[must_use]
    pub fn category(&self) -> &str {
        if self.category.trim().is_empty() { &self.department } else { &self.category }
    }
}

/// One line of a basket, as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The product; may be unknown to the catalogue.
    pub sku: String,
    /// Units; may be 0.
    pub quantity: u64,
}

/// One basket: one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Basket {
    /// Its number in the data set.
    pub basket: String,
    /// The household that bought it.
    pub household: String,
    /// Its lines, in file order.
    pub lines: Vec<Line>,
}

/// Why a basket must be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A quantity of 0 or above the limit.
    QuantityOutOfRange,
    /// A SKU that is not in the catalogue.
    UnknownSku,
    /// One SKU on two lines.
    DuplicateSku,
    /// More lines than an order may have.
    TooManyLines,
    /// No line at all.
    EmptyOrder,
}

impl Fault {
    /// The code of the problem the server answers with.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::QuantityOutOfRange => "quantity_out_of_range",
            Self::UnknownSku => "unknown_sku",
            Self::DuplicateSku => "duplicate_sku",
            Self::TooManyLines => "too_many_lines",
            Self::EmptyOrder => "empty_order",
        }
    }
}

/// Products and baskets, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grocery {
    /// By SKU.
    pub products: BTreeMap<String, Product>,
    /// In time order.
    pub baskets: Vec<Basket>,
}

impl Grocery {
    /// The month in `folder` (`products.csv.gz`, `baskets-2017-01.csv.gz`).
    ///
    /// # Errors
    /// [`Error`] when a file cannot be read or a row does not parse.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        Self::parse(open(&folder.join("products.csv.gz"))?, open(&folder.join("baskets-2017-01.csv.gz"))?)
    }

    /// The first 200 baskets and their products, carried by the program itself.
    ///
    /// # Errors
    /// [`Error`] when a row does not parse.
    pub fn slice() -> Result<Self, Error> {
        let products: &[u8] = include_bytes!("../data/products.csv.gz");
        let baskets: &[u8] = include_bytes!("../data/baskets.csv.gz");
        Self::parse(("products.csv.gz of the slice".into(), products), ("baskets.csv.gz of the slice".into(), baskets))
    }

    /// Reads both gzipped files; each comes with its name for errors.
    ///
    /// # Errors
    /// [`Error`] when a row does not parse or a SKU is listed twice.
    pub fn parse<P: Read, B: Read>(products: (PathBuf, P), baskets: (PathBuf, B)) -> Result<Self, Error> {
        let mut catalogue = BTreeMap::new();
        let failed = row_error(&products.0);
        for row in csv::Reader::from_reader(GzDecoder::new(products.1)).deserialize() {
            let product: Product = row.map_err(&failed)?;
            if let Some(twice) = catalogue.insert(product.sku.clone(), product) {
                return Err(Error::Twice { sku: twice.sku });
            }
        }
        let failed = row_error(&baskets.0);
        let mut all: Vec<Basket> = Vec::new();
        for row in csv::Reader::from_reader(GzDecoder::new(baskets.1)).deserialize() {
            let row: BasketRow = row.map_err(&failed)?;
            let line = Line { sku: row.sku, quantity: row.quantity };
            match all.last_mut() {
                Some(last) if last.basket == row.basket => last.lines.push(line),
                _ => all.push(Basket { basket: row.basket, household: row.household, lines: vec![line] }),
            }
        }
        Ok(Self { products: catalogue, baskets: all })
    }

    /// Keeps the first `limit` baskets; the catalogue stays whole, because it decides which are refused.
    #[must_use]
    pub fn limited(mut self, limit: Option<usize>) -> Self {
        self.baskets.truncate(limit.unwrap_or(usize::MAX));
        self
    }

    /// Every reason the server has to refuse `basket`; empty when it must be accepted.
    #[must_use]
    pub fn faults(&self, basket: &Basket) -> BTreeSet<Fault> {
        let mut faults = BTreeSet::new();
        let mut seen = BTreeSet::new();
        if basket.lines.is_empty() {
            faults.insert(Fault::EmptyOrder);
        }
        if basket.lines.len() > LINES_MAX {
            faults.insert(Fault::TooManyLines);
        }
        for line in &basket.lines {
            if !(1..=QUANTITY_MAX).contains(&line.quantity) {
                faults.insert(Fault::QuantityOutOfRange);
            }
            if !self.products.contains_key(&line.sku) {
                faults.insert(Fault::UnknownSku);
            }
            if !seen.insert(line.sku.as_str()) {
                faults.insert(Fault::DuplicateSku);
            }
        }
        faults
    }

    /// The baskets the server must refuse, by number.
    #[must_use]
    pub fn must_be_refused(&self) -> BTreeSet<&str> {
        self.baskets.iter().filter(|basket| !self.faults(basket).is_empty()).map(|basket| basket.basket.as_str()).collect()
    }
}

/// Why the baskets could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file is missing or cannot be opened.
    #[error("open {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A row does not parse.
    #[error("read a row of {}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The cause, with its line.
        #[source]
        source: csv::Error,
    },
    /// A SKU is listed twice.
    #[error("read products: sku {sku} is listed twice")]
    Twice {
        /// The SKU.
        sku: String,
    },
}

#[derive(Deserialize)]
struct BasketRow {
    basket: String,
    household: String,
    sku: String,
    quantity: u64,
}

fn open(path: &Path) -> Result<(PathBuf, File), Error> {
    let file = File::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
    Ok((path.to_owned(), file))
}

fn row_error(path: &Path) -> impl Fn(csv::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Row { path: path.clone(), source }
}

/// Where the whole month lies when it is beside the repository.
#[must_use]
pub fn default_folder() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/grocery");
    folder.join("baskets-2017-01.csv.gz").is_file().then_some(folder)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    const PRODUCTS: &str = "sku,department,brand,category,type,size,list_price_minor,sold_january\n\
        1,GROCERY,Private,\"SOUP, CANNED\",TOMATO,10 OZ,99,3\n2,FUEL,National,,,,1,200\n";

    fn grocery(baskets: &str) -> Result<Grocery, Error> {
        let baskets = format!("basket,household,at,sku,quantity,paid_minor\n{baskets}");
        Grocery::parse(("p".into(), gzip(PRODUCTS).as_slice()), ("b".into(), gzip(&baskets).as_slice()))
    }

    #[test]
    fn rows_become_products_and_baskets() {
        let grocery =
            grocery("7,900,2017-01-01T11:53:26Z,1,2,50\n7,900,2017-01-01T11:53:26Z,2,30580,1\n8,901,2017-01-01T12:00:00Z,1,1,9\n").unwrap();
        let soup = &grocery.products["1"];
        assert_eq!(
            (soup.category(), soup.name().as_str(), soup.list_price_minor, soup.initial_stock()),
            ("SOUP, CANNED", "TOMATO 10 OZ", 99, 2)
        );
        let fuel = &grocery.products["2"];
        assert_eq!((fuel.category(), fuel.name().as_str(), fuel.initial_stock()), ("FUEL", "FUEL", 190));
        assert_eq!(grocery.baskets.len(), 2);
        assert_eq!(grocery.baskets[0].lines.len(), 2);
        assert_eq!(
            grocery.baskets[1],
            Basket { basket: "8".into(), household: "901".into(), lines: vec![Line { sku: "1".into(), quantity: 1 }] }
        );
        assert!(grocery.must_be_refused().is_empty());
    }

    #[test]
    fn a_quantity_of_zero_an_unknown_sku_and_a_repeated_one_must_be_refused() {
        let grocery = grocery("7,9,t,1,0,0\n8,9,t,3,1,0\n9,9,t,1,1,0\n9,9,t,1,1,0\n10,9,t,1,1,0\n").unwrap();
        let faults: Vec<_> =
            grocery.baskets.iter().map(|basket| grocery.faults(basket).into_iter().map(Fault::code).collect::<Vec<_>>()).collect();
        assert_eq!(faults, [vec!["quantity_out_of_range"], vec!["unknown_sku"], vec!["duplicate_sku"], vec![]]);
        assert_eq!(grocery.limited(Some(1)).must_be_refused().into_iter().collect::<Vec<_>>(), ["7"]);
    }

    #[test]
    fn a_bad_row_is_named_with_its_file() {
        let error = grocery("7,9,t,1,many,0\n").unwrap_err();
        assert!(matches!(error, Error::Row { ref path, .. } if path == Path::new("b")), "{error}");
        let twice = format!("{PRODUCTS}1,G,P,C,T,S,1,1\n");
        let error = Grocery::parse(("p".into(), gzip(&twice).as_slice()), ("b".into(), gzip("").as_slice())).unwrap_err();
        assert!(matches!(error, Error::Twice { .. }));
    }

    #[test]
    fn a_product_never_sold_starts_with_one_unit() {
        let mut product = grocery("").unwrap().products["1"].clone();
        for (sold, stock) in [(0, 1), (1, 1), (2, 1), (20, 19), (100, 95), (9_838_437, 9_346_515)] {
            product.sold_january = sold;
            assert_eq!(product.initial_stock(), stock);
        }
    }

    #[test]
    fn eleven_baskets_of_the_slice_must_be_refused() {
        let slice = Grocery::slice().unwrap();
        assert_eq!((slice.baskets.len(), slice.products.len()), (200, 1_555));
        assert_eq!(slice.must_be_refused().len(), 11);
    }

    #[test]
    fn exactly_516_baskets_of_the_month_must_be_refused() {
        let Some(folder) = default_folder() else { return };
        let month = Grocery::read(&folder).unwrap();
        assert_eq!((month.baskets.len(), month.products.len()), (12_721, 32_596));
        let count = |fault| month.baskets.iter().filter(|basket| month.faults(basket).contains(&fault)).count();
        assert_eq!(count(Fault::QuantityOutOfRange), 512);
        assert_eq!(count(Fault::UnknownSku), 277);
        assert_eq!(count(Fault::DuplicateSku) + count(Fault::TooManyLines) + count(Fault::EmptyOrder), 0);
        assert_eq!(month.must_be_refused().len(), 516);
        let slice = Grocery::slice().unwrap();
        assert_eq!(month.limited(Some(200)).baskets, slice.baskets);
    }
}
