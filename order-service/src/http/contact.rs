//! What an order says of a person, on its way in and out.

use contract::{Code, Contact, Problem};
use kafka::seal::Sealed;
use values::{CustomerId, OrderId};

use super::{Face, busy, internal, unavailable};
use crate::store::{self, Unreadable};
use crate::vault::{self, SealedContact, Vault};

fn problem(error: &vault::Error) -> Problem {
    match error {
        vault::Error::Database(error) => unavailable(error),
        vault::Error::Seal(_) | vault::Error::Random => internal(error),
    }
}

/// Seals a contact with its customer's key.
pub(super) async fn sealed(face: &Face, customer: &CustomerId, order: OrderId, contact: Contact) -> Result<SealedContact, Problem> {
    let vault = face.vault.clone().ok_or_else(|| Problem::new(Code::Unavailable).with_detail("no personal data can be taken here"))?;
    let customer = customer.clone();
    let work = async move { vault.seal(&customer, order, &contact).await };
    face.bridge.run(work).await.map_err(busy)?.map_err(|error| problem(&error))
}

/// What an order's first event says of a person.
#[derive(Debug)]
pub(super) enum Kept {
    /// Nothing was given.
    Nothing,
    /// Its key is destroyed.
    Erased,
    /// It is this.
    Here(Contact),
}

/// The contact of an order that exists and is the asker's.
pub(super) async fn kept(face: &Face, order: OrderId) -> Result<Kept, Problem> {
    let Some(vault) = face.vault.clone() else { return Ok(Kept::Nothing) };
    let units = face.units.clone();
    let work = async move {
        let sealed = store::sealed_contact(&mut *units.pool().acquire().await?, units.codec(), order).await?;
        match sealed {
            Some(sealed) => Ok::<_, Unreadable>(Some(opened(&vault, order, &sealed).await)),
            None => Ok(None),
        }
    };
    match face.bridge.run(work).await.map_err(busy)? {
        Ok(Some(opened)) => opened.map_err(|error| problem(&error)),
        Ok(None) => Ok(Kept::Nothing),
        Err(Unreadable::Database(error)) => Err(unavailable(&error)),
        Err(Unreadable::Event(failure)) => Err(internal(&failure)),
    }
}

async fn opened(vault: &Vault, order: OrderId, sealed: &Sealed) -> Result<Kept, vault::Error> {
    Ok(vault.open(order, sealed).await?.map_or(Kept::Erased, Kept::Here))
}
