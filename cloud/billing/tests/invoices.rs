//! Numbers without gaps, documents that add up, and a PDF that another program reads.

mod common;

use std::path::Path;
use std::process::Command;

use common::{eur, invoice, seller};
use proptest::prelude::*;
use remuda_billing::invoices::{
    Buyer, Document, DocumentKind, DocumentLine, Invoices, InvoicesCommand, InvoicesEvent, InvoicesState,
    IssuedDocument, pdf,
};
use remuda_eventsourcing::Aggregate;
use remuda_eventsourcing::testing::{context, given};

fn issue(key: &str, document: Document) -> InvoicesCommand {
    InvoicesCommand::Issue { key: key.into(), year: 2026, document: Box::new(document) }
}

fn credit_note(payment: &str, gross: i64, tax: i64) -> Document {
    Document {
        kind: DocumentKind::CreditNote { invoice: "2026-000001".into() },
        ..invoice(payment, gross, tax)
    }
}

fn number(events: &[InvoicesEvent]) -> &str {
    match events {
        [InvoicesEvent::Issued(issued)] => &issued.issued.number,
        _ => "",
    }
}

#[test]
fn each_series_has_no_gap_and_a_key_is_one_document() {
    given::<Invoices>([])
        .when(issue("t1", invoice("t1", 1_190, 190)))
        .then_events(|events| number(events) == "2026-000001")
        .when(issue("t1", invoice("t1", 1_190, 190)))
        .then_nothing()
        .when(issue("t1", invoice("t9", 1_190, 190)))
        .then_refused("key-reused")
        .when(issue("t2", invoice("t2", 700, 112)))
        .then_events(|events| number(events) == "2026-000002")
        .when(issue("t1#r1", credit_note("t1", 119, 19)))
        .then_events(|events| number(events) == "2026-C000001")
        .when(InvoicesCommand::Confirm { key: "t1".into() })
        .then_events(|events| events.len() == 1)
        .when(InvoicesCommand::Confirm { key: "t1".into() })
        .then_nothing()
        .when(InvoicesCommand::Issue {
            key: "t3".into(),
            year: 2027,
            document: Box::new(invoice("t3", 1_190, 190)),
        })
        .then_refused("wrong-year")
        .when(issue("t4", Document { net: eur(999), ..invoice("t4", 1_190, 190) }))
        .then_refused("invalid-document")
        .when(issue("t4", Document { lines: Vec::new(), ..invoice("t4", 1_190, 190) }))
        .then_refused("invalid-document")
        .when(issue("t4", invoice("t4", 1_190, 190)))
        .then_events(|events| number(events) == "2026-000003");
}

proptest! {
    /// Whatever is asked, however often: numbers count up by one, dates never go back.
    #[test]
    fn numbers_never_skip(asked in prop::collection::vec((0_u8..12, 0_i64..10_000, any::<bool>(), any::<bool>()), 0..60)) {
        let mut state = InvoicesState::default();
        let (mut invoices, mut notes, mut last_ms) = (0, 0, 0);
        for (key, gross, note, confirm) in asked {
            let key = format!("t{key}");
            let document = if note { credit_note(&key, gross, gross / 10) } else { invoice(&key, gross, gross / 10) };
            let key = if note { format!("{key}#r") } else { key };
            let command = if confirm { InvoicesCommand::Confirm { key } } else { issue(&key, document) };
            let now = remuda_eventsourcing::Context { now_ms: 1_000 - gross, ..context() };
            for event in Invoices::decide(&state, &command, &now).unwrap_or_default() {
                if let InvoicesEvent::Issued(issued) = &event {
                    let count = if note { &mut notes } else { &mut invoices };
                    *count += 1;
                    let expected = if note { format!("2026-C{count:06}") } else { format!("2026-{count:06}") };
                    prop_assert_eq!(&issued.issued.number, &expected);
                    prop_assert!(issued.issued.issued_ms >= last_ms);
                    last_ms = issued.issued.issued_ms;
                }
                Invoices::evolve(&mut state, &event);
            }
        }
        prop_assert_eq!((state.invoices, state.credit_notes), (invoices, notes));
    }
}

fn issued(document: Document) -> IssuedDocument {
    IssuedDocument { number: "2026-000042".into(), issued_ms: 1_767_225_600_000, document }
}

#[test]
fn the_json_is_plain() {
    let json = issued(invoice("t-1", 1_190, 190)).to_json().expect("JSON");
    let value: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(value["number"], "2026-000042");
    assert_eq!(value["document"]["kind"], "invoice");
    assert_eq!(value["document"]["gross"]["minor_units"], 1_190);
    assert_eq!(value["document"]["gross"]["currency"], "EUR");
    let back: IssuedDocument = serde_json::from_str(&json).expect("the document");
    assert_eq!(back, issued(invoice("t-1", 1_190, 190)));
}

/// Reads a PDF's texts with pypdf, page by page; nothing when it is not installed.
fn read_back(bytes: &[u8]) -> Option<Vec<String>> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv/bin/python");
    let known = Command::new(&python).args(["-c", "import pypdf"]).output();
    if !known.is_ok_and(|out| out.status.success()) {
        eprintln!("skipped: no Python environment with pypdf; `cargo xtask install` makes it");
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("invoice.pdf");
    std::fs::write(&file, bytes).expect("written");
    let script = "import sys, json, pypdf; r = pypdf.PdfReader(sys.argv[1], strict=True); \
                  print(json.dumps([p.extract_text() for p in r.pages] + [r.metadata.title]))";
    let out = Command::new(&python).args(["-c", script]).arg(&file).output().expect("Python runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Some(serde_json::from_slice(&out.stdout).expect("JSON"))
}

#[test]
fn another_program_reads_the_pdf() {
    let buyer = Buyer { name: "Žofie Ångström".into(), address: vec!["12 rue de l’Œuvre".into()] };
    let bytes = pdf(&issued(invoice("t-1", 1_190, 190)), &buyer);
    assert_eq!(
        bytes,
        pdf(&issued(invoice("t-1", 1_190, 190)), &buyer),
        "the same document is the same bytes"
    );
    let Some(pages) = read_back(&bytes) else { return };
    assert_eq!((pages.len(), pages[1].as_str()), (2, "Invoice 2026-000042"));
    for text in [
        "Invoice 2026-000042",
        "Müller & Söhne Mobilität GmbH",
        "Straße des 17. Juni 135",
        "DE123456789",
        "Žofie Ångström",
        "12 rue de l’Œuvre",
        "Date: 2026-01-01",
        "Service on: 2023-11-14",
        "Base fare",
        "11.90 EUR",
        "Tax 19 %",
        "1.90 EUR",
        "10.00 EUR",
        "Total",
    ] {
        assert!(pages[0].contains(text), "{text} in {}", pages[0]);
    }
}

#[test]
fn a_long_invoice_has_pages_and_strange_texts_do_no_harm() {
    let line = |i: i64| DocumentLine { label: format!("Line {i} (with) \\ brackets"), amount: eur(i) };
    let lines: Vec<DocumentLine> = (1..=64).map(line).collect();
    let gross: i64 = (1..=64).sum();
    let document = Document { lines, net: eur(gross), tax: eur(0), gross: eur(gross), ..invoice("t", 1, 0) };
    let document = Document {
        seller: remuda_billing::invoices::Seller { name: "株式会社".into(), ..seller() },
        ..document
    };
    let Some(pages) = read_back(&pdf(&issued(document), &Buyer::default())) else { return };
    assert_eq!(pages.len(), 3, "two pages and the title");
    assert!(
        pages[0].contains("Line 1 (with) \\ brackets") && pages[0].contains("page 1 of 2"),
        "{}",
        pages[0]
    );
    assert!(pages[1].contains("Line 64") && pages[1].contains("20.80 EUR"), "{}", pages[1]);
}
