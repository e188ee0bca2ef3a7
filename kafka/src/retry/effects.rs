//! Dead letters of effects: calls to the outside that were given up. They are listed and can be skipped; sending one back
//! would do nothing, since its saga was told that the step failed.

use sqlx::PgConnection;

use super::headers as name;
use super::store::Post;
use super::tiers::dlq_topic;
use super::{EFFECT_TOPIC, Settings, fingerprint};
use crate::effects::EffectRow;
use crate::failure::Failure;
use crate::message::{HeaderText, MessageId, header};
use crate::topics::Partitions;
use crate::unit::{Micros, rfc3339};

/// Lists `given_up` among the dead letters; answers their records for the dead-letter topic.
pub(crate) async fn give_up(
    db: &mut PgConnection,
    settings: &Settings,
    partitions: &Partitions,
    now: Micros,
    given_up: &[(&EffectRow, &Failure)],
) -> Result<Vec<Post>, sqlx::Error> {
    let mut posts = Vec::with_capacity(given_up.len());
    let mut headers = Vec::with_capacity(given_up.len());
    let topics: Vec<String> = given_up.iter().map(|(effect, _)| format!("{EFFECT_TOPIC}{}", effect.step)).collect();
    let fingerprints: Vec<String> = given_up.iter().zip(&topics).map(|((_, failure), topic)| fingerprint(topic, None, failure)).collect();
    for (((effect, failure), topic), fingerprint) in given_up.iter().zip(&topics).zip(&fingerprints) {
        let post = post(settings, partitions, now, (effect, failure), (topic, fingerprint))
            .map_err(|failure| sqlx::Error::Configuration(failure.to_string().into()))?;
        headers.push(post.headers.clone());
        posts.push(post);
    }
    sqlx::query(
        "INSERT INTO parked (consumer_group, topic, partition, record_offset, key, message_id, step, correlation_id, value, headers, recorded_at_ms,
                             policy, state, alone, attempt, error_class, error_code, error, fingerprint, first_failure_at, last_failure_at)
         SELECT $1, l.topic, 0, e.pos, convert_to(l.stream, 'UTF8'), l.cause, l.step, l.story, convert_to(l.request, 'UTF8'), l.headers, $2::bigint / 1000,
                'release', 'dead', true, l.attempt, l.class, l.code, l.error, l.fingerprint, to_timestamp($2 / 1000000.0), to_timestamp($2 / 1000000.0)
         FROM unnest($3::text[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::text[], $9::bytea[], $10::int[], $11::text[], $12::text[], $13::text[], $14::text[])
              AS l (topic, stream, step, cause, story, request, headers, attempt, class, code, error, fingerprint)
         JOIN effects e ON e.stream = l.stream AND e.step = l.step
         ON CONFLICT (consumer_group, topic, partition, record_offset) DO NOTHING",
    )
    .bind(&settings.group)
    .bind(now)
    .bind(&topics)
    .bind(given_up.iter().map(|(effect, _)| effect.stream.as_str()).collect::<Vec<_>>())
    .bind(given_up.iter().map(|(effect, _)| effect.step.as_str()).collect::<Vec<_>>())
    .bind(given_up.iter().map(|(effect, _)| effect.cause.uuid()).collect::<Vec<_>>())
    .bind(given_up.iter().map(|(effect, _)| effect.correlation.as_str()).collect::<Vec<_>>())
    .bind(given_up.iter().map(|(effect, _)| effect.request.as_str()).collect::<Vec<_>>())
    .bind(headers)
    .bind(given_up.iter().map(|(effect, _)| effect.attempt.saturating_add(1)).collect::<Vec<_>>())
    .bind(given_up.iter().map(|(_, failure)| failure.class.as_str()).collect::<Vec<_>>())
    .bind(given_up.iter().map(|(_, failure)| failure.code).collect::<Vec<_>>())
    .bind(given_up.iter().map(|(_, failure)| failure.message.as_str()).collect::<Vec<_>>())
    .bind(&fingerprints)
    .execute(db)
    .await?;
    metrics::counter!("dead_letters_total", "group" => settings.group.clone()).increment(u64::try_from(given_up.len()).unwrap_or_default());
    Ok(posts)
}

fn post(
    settings: &Settings,
    partitions: &Partitions,
    now: Micros,
    (effect, failure): (&EffectRow, &Failure),
    (origin, fingerprint): (&str, &str),
) -> Result<Post, Failure> {
    let topic = dlq_topic(&settings.group);
    let id = MessageId::external(&format!("{} dead effect", settings.group), &format!("{}/{}", effect.stream, effect.step));
    let mut headers = HeaderText::default();
    for (name, value) in [
        (header::CE_ID, id.to_string()),
        (header::CE_TYPE, "effect".to_owned()),
        (header::CE_SUBJECT, effect.stream.clone()),
        (header::CE_TIME, rfc3339(now)),
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::CAUSATION_ID, effect.cause.to_string()),
        (header::CORRELATION_ID, effect.correlation.clone()),
        (header::STREAM, effect.stream.clone()),
        (name::ORIG_ID, effect.cause.to_string()),
        (name::ORIG_TOPIC, origin.to_owned()),
        (name::EFFECT_STEP, effect.step.clone()),
        (name::ATTEMPT, effect.attempt.saturating_add(1).to_string()),
        (name::ATTEMPTS_MAX, settings.tiers.attempts_max().to_string()),
        (name::REDRIVE_NO, "0".to_owned()),
        (name::LAST_FAILURE_AT, rfc3339(now)),
        (name::ERROR_CLASS, failure.class.as_str().to_owned()),
        (name::ERROR_CODE, failure.code.to_owned()),
        (name::ERROR, failure.message.clone()),
        (name::FINGERPRINT, fingerprint.to_owned()),
        (name::POLICY, "release".to_owned()),
    ] {
        headers.push(name, &value);
    }
    let key = effect.stream.clone().into_bytes();
    Ok(Post {
        id: id.uuid(),
        partition: record::partition_for(&key, partitions.of(&topic)?),
        topic,
        key,
        headers: headers.into_bytes(),
        payload: effect.request.clone().into_bytes(),
    })
}
