//! Rust to bytes and back, for any value of every record.

use std::fmt::Debug;

use apache_avro::{Schema, from_value, reader::datum::GenericDatumReader, writer::datum::GenericDatumWriter};
use proptest::test_runner::{Config, TestRunner};
use schemas::{RECORDS, inventory, orders, payments, record::Record};

use crate::value;

fn round_trips<T: Record + PartialEq + Debug>(done: &mut Vec<&'static str>) {
    let schema = Schema::parse_str(T::SCHEMA).unwrap();
    assert_eq!(schema.name().unwrap().fullname(None), T::FULL_NAME);
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    let reader = GenericDatumReader::builder(&schema).build().unwrap();
    let mut runner = TestRunner::new(Config { cases: 64, failure_persistence: None, ..Config::default() });
    let test = runner.run(&value::any_of(&schema), |value| {
        // What another language writes is what we read …
        let theirs = writer.write_value_to_vec(value.clone()).unwrap();
        let mut rest = theirs.as_slice();
        let record: T = reader.read_deser(&mut rest).unwrap();
        assert!(rest.is_empty());
        // … and what we write is what another language reads, byte for byte.
        assert_eq!(writer.write_ser_to_vec(&record).unwrap(), theirs);
        assert_eq!(reader.read_value(&mut theirs.as_slice()).unwrap(), value);
        // The other way to read, by a value, is the one that resolves an older writer's schema.
        assert_eq!(from_value::<T>(&value).unwrap(), record);
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<T>(&json).unwrap(), record);
        Ok(())
    });
    assert_eq!(test, Ok(()), "{}", T::FULL_NAME);
    done.push(T::FULL_NAME);
}

#[test]
fn every_record_round_trips() {
    let mut done = Vec::new();
    macro_rules! all {
        ($($record:ty),+ $(,)?) => { $(round_trips::<$record>(&mut done);)+ };
    }
    all!(
        inventory::CommitInventoryHold,
        inventory::CreateInventoryHold,
        inventory::InventoryHoldCommitted,
        inventory::InventoryHoldReleased,
        inventory::InventoryRejected,
        inventory::InventoryReserved,
        inventory::PriceChanged,
        inventory::ProductListed,
        inventory::ReleaseInventoryHold,
        inventory::StepFailed,
        inventory::StockAdjusted,
        inventory::StockReceived,
        orders::OrderCancelled,
        orders::OrderConfirmed,
        orders::OrderPlaced,
        orders::SagaEnded,
        orders::SagaStarted,
        orders::SagaStepRecorded,
        payments::CapturePayment,
        payments::PaymentAuthorized,
        payments::PaymentCaptured,
        payments::PaymentDeclined,
        payments::PaymentRefunded,
        payments::PaymentVoided,
        payments::RefundPayment,
        payments::StepFailed,
        payments::VoidPayment,
    );
    assert_eq!(done, RECORDS.iter().map(|entry| entry.full_name).collect::<Vec<_>>());
}

#[test]
fn a_missing_optional_field_reads_as_none() {
    let json = r#"{"order_id":"0199f0c8-0000-7000-8000-000000000001","amount":{"minor":5,"currency":"USD"}}"#;
    let capture: payments::CapturePayment = serde_json::from_str(json).unwrap();
    assert_eq!(capture.payment_token, None);
    assert_eq!(capture.amount.minor, 5);
}
