//! Who and what is in which group: files in Cedar's entity format, of which memberships are all that is taken.

use std::collections::HashSet;

use cedar_policy::{Entities, Entity, EntityId, EntityUid};
use serde_json::{Map, Value};

use crate::schema::MEMBERS;
use crate::{Problem, Source, place};

/// Adds a file's memberships to those of others.
pub(crate) fn read(source: &Source, entities: Entities) -> Result<Entities, Problem> {
    let json: Value = serde_json::from_str(&source.text).map_err(|error| Problem {
        source: source.name.clone(),
        line: u32::try_from(error.line()).unwrap_or(0),
        column: u32::try_from(error.column()).unwrap_or(0),
        message: format!("not JSON: {error}"),
    })?;
    let Value::Array(members) = json else {
        return Err(place::in_file(source, "a file of groups is a JSON list of entities"));
    };
    let entity = |(at, member): (usize, &Value)| {
        entity(member).map_err(|error| place::in_file(source, format!("entity {}: {error}", at + 1)))
    };
    let members = members.iter().enumerate().map(entity).collect::<Result<Vec<Entity>, Problem>>()?;
    entities.add_entities(members, None).map_err(|error| place::in_file(source, error.to_string()))
}

/// `{ "uid": UID, "attrs": {}, "parents": [UID, ...] }`.
fn entity(member: &Value) -> Result<Entity, String> {
    let Value::Object(member) = member else { return Err("is no JSON object".to_owned()) };
    if let Some(name) =
        member.keys().find(|name| !["uid", "attrs", "parents", "tags"].contains(&name.as_str()))
    {
        return Err(format!("has a member {name:?}; uid, attrs and parents are all that there are"));
    }
    let uid = uid(member.get("uid").ok_or("has no uid")?)?;
    for name in ["attrs", "tags"] {
        if member.get(name).is_some_and(|value| value != &Value::Object(Map::new())) {
            return Err(format!("{uid} takes no {name}; attributes and tags come from each request"));
        }
    }
    let parents = match member.get("parents") {
        None => HashSet::new(),
        Some(Value::Array(parents)) => parents.iter().map(self::uid).collect::<Result<HashSet<_>, _>>()?,
        Some(_) => return Err(format!("{uid} has parents that are no list")),
    };
    if let Some(parent) = parents.iter().find(|parent| parent.type_name().basename() != "Group") {
        return Err(format!("{uid} can't be in {parent}; parents are groups"));
    }
    Ok(Entity::new_no_attrs(uid, parents))
}

/// `{ "type": "Role", "id": "111122223333/App" }`.
fn uid(value: &Value) -> Result<EntityUid, String> {
    let value = value.get("__entity").unwrap_or(value);
    let (Some(Value::String(name)), Some(Value::String(id))) = (value.get("type"), value.get("id")) else {
        return Err(format!(r#"{value} is no {{ "type": "...", "id": "..." }}"#));
    };
    if !MEMBERS.contains(&name.as_str()) {
        return Err(format!("{name:?} is none of the types that can be in a group: {}", MEMBERS.join(", ")));
    }
    let name = name.parse().map_err(|error| format!("{name:?}: {error}"))?;
    Ok(EntityUid::from_type_name_and_id(name, EntityId::new(id)))
}
