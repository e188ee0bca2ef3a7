//! What is asked of the provider, as the runtime's effects: the request in the row, the call, and its answer in the books.

use std::time::Duration;

use kafka::seal::{self, Sealer};
use kafka::{EffectRow, Effects, Failure, MessageId, Needs, Unit};
use payment_domain::{Outcome, Payment, Step, complete};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use values::Money;

use crate::handlers::{apply, effects, saga};
use crate::provider::{AuthKey, Error, Provider, Token, Undone};
use crate::store::Books;

/// How long the provider may take. Four quick tries of it end before the effect's lease of 15 s does.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The field whose seal a payment token carries.
const TOKEN_FIELD: &str = "payment_token";

/// A call to make, as the effect row keeps it. The token stays sealed until the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    Authorize { amount: Money, token: SealedToken },
    Capture { amount: Money },
    Void,
}

/// A sealed payment token in JSON; bytes as hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SealedToken {
    key_id: String,
    nonce: String,
    bytes: String,
}

impl From<&schemas::common::Sealed> for SealedToken {
    fn from(sealed: &schemas::common::Sealed) -> Self {
        Self { key_id: sealed.key_id.clone(), nonce: hex::encode(&sealed.nonce), bytes: hex::encode(&sealed.bytes) }
    }
}

/// The provider as the effect worker calls it.
#[derive(Debug)]
pub struct Calls<P> {
    provider: P,
    sealer: Sealer,
}

impl<P: Provider> Calls<P> {
    /// Calls `provider` with tokens that `sealer` opens.
    pub const fn new(provider: P, sealer: Sealer) -> Self {
        Self { provider, sealer }
    }

    async fn ask_provider(&self, order: Uuid, request: &Request) -> Result<Outcome, Failure> {
        let key = auth_key(order);
        match request {
            Request::Authorize { amount, token } => {
                let token = self.open(order, token)?;
                match self.provider.authorize(key, *amount, &token).await {
                    Ok(()) => Ok(Outcome::Authorized { amount: *amount }),
                    Err(Error::Declined { code }) => Ok(Outcome::Declined { code }),
                    Err(Error::Permanent { code }) => Ok(Outcome::AuthorizeFailed { code }),
                    Err(error @ Error::Transient { .. }) => Err(unanswered(Step::Authorize, order, &error)),
                }
            }
            Request::Capture { amount } => match self.provider.capture(key, *amount).await {
                Ok(()) => Ok(Outcome::Captured { amount: *amount }),
                Err(Error::Declined { code } | Error::Permanent { code }) => Ok(Outcome::CaptureFailed { code }),
                Err(error @ Error::Transient { .. }) => Err(unanswered(Step::Capture, order, &error)),
            },
            Request::Void => match self.provider.void(key).await {
                Ok(Undone::Voided) => Ok(Outcome::Voided),
                Ok(Undone::Refunded(amount)) => Ok(Outcome::Refunded { amount }),
                Err(error) => Err(unanswered(Step::Void, order, &error)),
            },
        }
    }

    fn open(&self, order: Uuid, token: &SealedToken) -> Result<Token, Failure> {
        // Perhaps our key is not the one it was sealed with: a setting, not a fact about the payment. So the call stays open.
        let unreadable = |reason: String| Failure::permanent("payment_token_unreadable", format!("authorize order {order}: {reason}"));
        let bytes = |text: &str| hex::decode(text).map_err(|error| unreadable(error.to_string()));
        let sealed = seal::Sealed { key_id: token.key_id.clone(), nonce: bytes(&token.nonce)?, bytes: bytes(&token.bytes)? };
        let bytes = self.sealer.open(&order.to_string(), TOKEN_FIELD, &sealed).map_err(|error| unreadable(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_not_text| unreadable("the token is no text".to_owned()))?;
        Ok(Token::from(text))
    }
}

/// Capture and void go by the key of the authorisation.
fn auth_key(order: Uuid) -> AuthKey {
    AuthKey::from(MessageId::of_step(&saga(order), Step::Authorize.as_str()).uuid())
}

fn unanswered(step: Step, order: Uuid, error: &Error) -> Failure {
    Failure::transient("provider_unanswered", format!("{} order {order}: {error}", step.as_str()))
}

fn order_of(effect: &EffectRow) -> Result<Uuid, Failure> {
    let order = effect.stream.strip_prefix("payment-").and_then(|order| order.parse().ok());
    order.ok_or_else(|| Failure::permanent("effect_unreadable", format!("stream {} is no payment", effect.stream)))
}

impl<P: Provider> Effects<Books> for Calls<P> {
    type Answer = Outcome;

    const STEPS: &'static [&'static str] = &[Step::Authorize.as_str(), Step::Capture.as_str(), Step::Void.as_str()];

    async fn call(&self, effect: &EffectRow) -> Result<Outcome, Failure> {
        let order = order_of(effect)?;
        let request: Request = serde_json::from_str(&effect.request)
            .map_err(|error| Failure::permanent("effect_unreadable", format!("read effect {} of order {order}: {error}", effect.step)))?;
        match tokio::time::timeout(TIMEOUT, self.ask_provider(order, &request)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => {
                Err(Failure::transient("provider_unanswered", format!("{} order {order}: no answer in {TIMEOUT:?}", effect.step)))
            }
        }
    }

    fn ask(&self, effect: &EffectRow, needs: &mut Needs<Books>) {
        needs.stream(effect.stream.clone());
    }

    fn record(&self, unit: &mut Unit<Books>, effect: &EffectRow, answer: &Outcome) -> Result<(), Failure> {
        let order = order_of(effect)?;
        let state: Payment = unit.state(&effect.stream)?;
        let before = effects(unit, order);
        let decision = complete(&state, &before, answer)
            .map_err(|disagreement| Failure::permanent("provider_disagrees", format!("payment of order {order}: {disagreement}")))?;
        for step in &decision.drop {
            unit.drop_effect(&effect.stream, step.as_str());
        }
        apply(unit, order, &state, before, decision, None)
    }

    /// A call that died ends as if the provider had refused it for good; what it may have done is undone by the void that its saga
    /// sends. The void itself has no last try.
    fn give_up(&self, unit: &mut Unit<Books>, effect: &EffectRow, failure: &Failure) -> Result<bool, Failure> {
        let code = failure.code.to_owned();
        let outcome = if effect.step == Step::Authorize.as_str() {
            Outcome::AuthorizeFailed { code }
        } else if effect.step == Step::Capture.as_str() {
            Outcome::CaptureFailed { code }
        } else {
            return Ok(false);
        };
        self.record(unit, effect, &outcome)?;
        Ok(true)
    }
}
