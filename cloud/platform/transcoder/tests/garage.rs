//! Requests to messages and back, over an API that has every kind of field and route.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _};
use remuda_transcoder::{
    About, Comments, FieldMask, Found, Problem, Table, TableError, Verb, json, openapi, parameters,
};
use serde_json::{Value as Json, json as js};

fn pool() -> DescriptorPool {
    let here = env!("CARGO_MANIFEST_DIR");
    let include = [format!("{here}/tests/proto"), format!("{here}/../../../protocol/api/proto")];
    let mut compiler = protox::Compiler::new(include).unwrap();
    compiler.include_imports(true).include_source_info(true).open_files(["garage.proto"]).unwrap();
    DescriptorPool::decode(compiler.encode_file_descriptor_set().as_slice()).unwrap()
}

fn table() -> &'static Table {
    static TABLE: LazyLock<Table> =
        LazyLock::new(|| Table::new(pool(), |service| service.starts_with("garage.")).unwrap());
    &TABLE
}

fn ask(table: &Table, verb: Verb, path: &str, query: &str, body: &str) -> Result<Json, Problem> {
    let Found::Route(route, fields) = table.find(Some(verb), path) else { panic!("{path} is not found") };
    let message = route.message(&fields, &parameters(query)?, body.as_bytes())?;
    // Only what was set.
    Ok(serde_json::to_value(&message).unwrap())
}

#[test]
fn paths_queries_and_bodies_become_messages() {
    let table = table();
    let get = |path: &str, query: &str| ask(table, Verb::Get, path, query, "");
    assert_eq!(get("/v1/garages/g/cars/c", ""), Ok(js!({ "name": "garages/g/cars/c" })));
    let all = "pageSize=5&colours=COLOUR_RED&colours=1&range.from=2026-11-30T00:00:00Z&range.most=9007199254740993\
        &read_mask=name,weightKg&age=90.5s&sold=true&clean=false&tags=a%26b&tags=c+d&cursor=AQI%3D&least=NaN&owner=x";
    assert_eq!(
        get("/v1/garages/g/cars", all),
        Ok(js!({
            "parent": "garages/g", "pageSize": 5, "colours": ["COLOUR_RED", "COLOUR_RED"],
            "range": { "from": "2026-11-30T00:00:00Z", "most": "9007199254740993" },
            "readMask": "name,weightKg", "age": "90.500s", "sold": true, "clean": false, "tags": ["a&b", "c d"],
            "cursor": "AQI=", "least": "NaN", "owner": "x",
        }))
    );
    let wash = ask(table, Verb::Post, "/v1/garages/g/cars/c:wash", "", r#"{"hot":true}"#);
    assert_eq!(wash, Ok(js!({ "name": "garages/g/cars/c", "hot": true })));
    let update = ask(
        table,
        Verb::Patch,
        "/v1/garages/g/cars/c",
        "updateMask=colour,labels",
        r#"{"colour":"COLOUR_RED","labels":{"a":"b"},"weightKg":1.5,"metres":"18446744073709551615"}"#,
    );
    assert_eq!(
        update,
        Ok(js!({
            "car": { "name": "garages/g/cars/c", "colour": "COLOUR_RED", "labels": { "a": "b" }, "weightKg": 1.5,
                "metres": "18446744073709551615" },
            "updateMask": "colour,labels",
        }))
    );
    let search = ask(
        table,
        Verb::Post,
        "/v1/garages/g/cars:search",
        "",
        r#"{"parent":"garages/g","ranges":[{"most":"1"}]}"#,
    );
    assert_eq!(search, Ok(js!({ "parent": "garages/g", "ranges": [{ "most": "1" }] })));
}

#[test]
fn what_does_not_fit_is_refused_by_the_name_of_its_field() {
    let table = table();
    let list = "/v1/garages/g/cars";
    for (query, field) in [
        ("pagesize=1", "pagesize"),
        ("page_size=x", "page_size"),
        ("page_size=1&page_size=2", "page_size"),
        ("page_size=1&pageSize=2", "pageSize"),
        ("page_size=99999999999", "page_size"),
        ("sold=yes", "sold"),
        ("colours=COLOUR_MAUVE", "colours"),
        ("range=1", "range"),
        ("range.from=yesterday", "range.from"),
        ("range.from.seconds=1", "range.from.seconds"),
        ("range.nothing=1", "range.nothing"),
        ("ranges.most=1", "ranges.most"),
        ("labels=1", "labels"),
        ("parent=garages/other", "parent"),
        ("tags.x=1", "tags.x"),
        ("a.b.c.d.e.f.g.h.i=1", "a.b.c.d.e.f.g.h.i"),
        ("owner=a&number=1", "query"),
        ("=1", ""),
    ] {
        let refused = ask(table, Verb::Get, list, query, "").unwrap_err();
        assert_eq!(refused.field, field, "{query}: {refused}");
    }
    assert_eq!(ask(table, Verb::Get, list, "", "{}").unwrap_err().field, "body");
    let wash = |query: &str, body: &str| {
        ask(table, Verb::Post, "/v1/garages/g/cars/c:wash", query, body).unwrap_err()
    };
    assert_eq!(wash("hot=true", "{}").field, "hot");
    assert_eq!(wash("", r#"{"name":"garages/g/cars/other"}"#).field, "name");
    for body in ["[]", "1", "{", "{}x", r#"{"cold":true}"#, r#"{"hot":1}"#, "\u{0}"] {
        assert_eq!(wash("", body).field, "body", "{body}");
    }
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(wash("", &deep).field, "body");
    let update = ask(table, Verb::Patch, "/v1/garages/g/cars/c", "car.etag=x", "{}").unwrap_err();
    assert_eq!(update.field, "car.etag");
}

#[test]
fn paths_are_found_with_their_verbs() {
    let table = table();
    assert!(
        matches!(table.find(Some(Verb::Get), "/v1/garages/g/cars/c:wash"), Found::OtherVerbs(v) if v == [Verb::Post].into())
    );
    let on_a_car = [Verb::Get, Verb::Patch, Verb::Delete].into();
    assert!(matches!(table.find(None, "/v1/garages/g/cars/c"), Found::OtherVerbs(v) if v == on_a_car));
    for nothing in ["/", "/v1", "/v1/garages/g/cars/", "/v1/garages/g/cars/c:paint", "/v1/garages/a%2Fb/cars"]
    {
        assert!(matches!(table.find(Some(Verb::Get), nothing), Found::Nothing), "{nothing}");
    }
}

#[test]
fn headers_fill_fields_that_the_request_left_open() {
    let table = table();
    let Found::Route(route, fields) = table.find(Some(Verb::Post), "/v1/garages/g/cars/c:wash") else {
        panic!()
    };
    let mut message = route.message(&fields, &[], b"{}").unwrap();
    assert_eq!(route.fill(&mut message, "etag", "\"7\""), Ok(true));
    assert_eq!(route.fill(&mut message, "etag", "\"7\""), Ok(true));
    assert_eq!(route.fill(&mut message, "etag", "\"8\"").unwrap_err().field, "etag");
    assert_eq!(route.fill(&mut message, "hot", "x"), Ok(false));
    assert_eq!(route.fill(&mut message, "resume_token", "x"), Ok(false));
}

#[test]
fn answers_have_their_defaults() {
    let car = pool().get_message_by_name("garage.v1.Car").unwrap();
    let shown: Json = serde_json::from_slice(&json(&DynamicMessage::new(car)).unwrap()).unwrap();
    let wanted = js!({ "name": "", "etag": "", "colour": "COLOUR_UNSPECIFIED", "weightKg": 0.0, "labels": {}, "metres": "0" });
    assert_eq!(shown, wanted);
}

#[test]
fn a_method_without_a_route_is_not_an_api() {
    let everything = Table::new(DescriptorPool::global(), |_| true);
    assert!(matches!(everything, Err(TableError::NoAnnotations)));
}

#[test]
fn the_document_describes_every_route_once() {
    let table = table();
    let about = About { title: "Garage", version: "1", description: "Cars.", organization: "default" };
    let document = openapi(table, &Comments::new(table.pool()), about);
    let paths = document["paths"].as_object().unwrap();
    let operations: Vec<&str> = paths
        .values()
        .flat_map(|path| path.as_object().unwrap().values())
        .map(|o| o["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(operations.len(), table.routes().len());
    let once: std::collections::BTreeSet<_> = operations.iter().collect();
    assert_eq!(once.len(), operations.len(), "{operations:?}");
    let list = &paths["/v1/garages/{garage}/cars"]["get"];
    let names: Vec<&str> =
        list["parameters"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(&names[..4], ["garage", "pageSize", "colours", "range.from"]);
    assert_eq!(list["summary"], "Answers cars");
    let wash = &paths["/v1/garages/{garage}/cars/{car}:wash"]["post"];
    let body = &wash["requestBody"]["content"]["application/json"]["schema"];
    assert!(body["properties"].get("hot").is_some() && body["properties"].get("name").is_none(), "{body}");
    assert!(wash["parameters"].as_array().unwrap().iter().any(|p| p["name"] == "If-Match"));
    // Every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1).map(|rest| rest.split('"').next().unwrap())
    {
        assert!(document["components"]["schemas"].get(reference).is_some(), "{reference}");
    }
}

proptest! {
    #[test]
    fn a_query_gives_back_the_texts_it_was_given(tags in proptest::collection::vec("\\PC{0,12}", 0..4), size in any::<i32>()) {
        let escape = |text: &String| text.bytes().map(|b| format!("%{b:02x}")).collect::<String>();
        let query: Vec<String> = tags.iter().map(|tag| format!("tags={}", escape(tag))).collect();
        let query = format!("page_size={size}&{}", query.join("&"));
        let table = table();
        let message = ask(table, Verb::Get, "/v1/garages/g/cars", &query, "").unwrap();
        prop_assert_eq!(message.get("tags").cloned().unwrap_or(js!([])), js!(tags));
        prop_assert_eq!(message.get("pageSize").cloned().unwrap_or(js!(0)), js!(size));
    }
}

fn mask(text: &str) -> Result<FieldMask, Problem> {
    let list = pool().get_message_by_name("garage.v1.ListCarsResponse").unwrap();
    FieldMask::parse("fields", text, &list)
}

fn cars() -> DynamicMessage {
    let list = pool().get_message_by_name("garage.v1.ListCarsResponse").unwrap();
    let cars = js!({ "cars": [
        { "name": "a", "etag": "1", "weightKg": 2.5, "labels": { "x": "y" }, "metres": "7", "doors": 0 },
        { "name": "b", "colour": "COLOUR_RED" },
        {},
    ] });
    DynamicMessage::deserialize(list, cars).unwrap()
}

#[test]
fn a_mask_takes_the_wanted_fields_of_messages_and_of_their_json() {
    let wanted = |text: &str| {
        let mask = mask(text).unwrap();
        let part = mask.of_message(&cars().encode_to_vec()).unwrap();
        let part = DynamicMessage::decode(cars().descriptor(), part.as_slice()).unwrap();
        let mut json: Json = serde_json::from_slice(&json(&cars()).unwrap()).unwrap();
        mask.prune(&mut json);
        (serde_json::to_value(&part).unwrap(), json)
    };
    let (part, json) = wanted("cars.name, cars.weight_kg");
    assert_eq!(part, js!({ "cars": [{ "name": "a", "weightKg": 2.5 }, { "name": "b" }, {}] }));
    let weighed = |name: &str, kg: f64| js!({ "name": name, "weightKg": kg });
    assert_eq!(json, js!({ "cars": [weighed("a", 2.5), weighed("b", 0.0), weighed("", 0.0)] }));
    let (part, _) = wanted("cars.labels,cars.doors");
    assert_eq!(part, js!({ "cars": [{ "labels": { "x": "y" }, "doors": 0 }, {}, {}] }));
    let all = serde_json::to_value(cars()).unwrap();
    for text in ["*", "cars", "cars.*", "cars.name,cars", "cars,cars.name", "cars.weightKg,*"] {
        assert_eq!(wanted(text).0, all, "{text}");
    }
}

#[test]
fn a_mask_that_names_nothing_is_refused() {
    for (text, problem) in [
        ("", "empty"),
        ("cars,", "empty"),
        ("cars..name", "no field ``"),
        ("wheels", "ListCarsResponse has no field `wheels`"),
        ("cars.wheels", "Car has no field `wheels`"),
        ("*,cars.wheels", "Car has no field `wheels`"),
        ("cars.name.first", "taken as a whole"),
        ("cars.labels.x", "taken as a whole"),
        ("*.name", "nothing stands behind it"),
        ("cars.a.a.a.a.a.a.a.a", "as deep"),
        (&"cars,".repeat(500), "longer than"),
    ] {
        let refused = mask(text).unwrap_err();
        assert!(refused.field == "fields" && refused.problem.contains(problem), "{text}: {refused}");
    }
}

proptest! {
    #[test]
    fn a_masked_message_is_a_message_or_was_none(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let mask = mask("cars.name,cars.labels").unwrap();
        let whole = DynamicMessage::decode(cars().descriptor(), bytes.as_slice());
        if let Some(part) = mask.of_message(&bytes) && whole.is_ok() {
            prop_assert!(DynamicMessage::decode(cars().descriptor(), part.as_slice()).is_ok());
        } else {
            prop_assert!(whole.is_err());
        }
    }
}
