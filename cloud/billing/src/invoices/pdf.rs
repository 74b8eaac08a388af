//! A document on A4 pages.

use chrono::DateTime;
use pdf_writer::{Content, Finish as _, Name, Pdf, Rect, Ref, Str, TextStr};

use super::font::{encoded, width};
use super::{Buyer, DocumentKind, IssuedDocument};
use crate::money::{Checked, Money};

const PAGE: (f32, f32) = (595.0, 842.0);
const LEFT: f32 = 60.0;
const RIGHT: f32 = 535.0;
const BOTTOM: f32 = 80.0;
const LEADING: f32 = 15.0;

/// A page in the making.
struct Writer {
    pages: Vec<Content>,
    y: f32,
}

impl Writer {
    fn new() -> Self {
        let mut writer = Self { pages: Vec::new(), y: 0.0 };
        writer.turn();
        writer
    }

    fn turn(&mut self) {
        self.pages.push(Content::new());
        self.y = PAGE.1 - 70.0;
    }

    fn down(&mut self, lines: f32) {
        self.y -= lines * LEADING;
        if self.y < BOTTOM {
            self.turn();
        }
    }

    fn put(&mut self, x: f32, text: &str, size: f32, bold: bool) {
        let font = if bold { Name(b"B") } else { Name(b"F") };
        let y = self.y;
        // There is always a page: `new` opens the first.
        let Some(page) = self.pages.last_mut() else { return };
        page.begin_text().set_font(font, size).next_line(x, y).show(Str(&encoded(text))).end_text();
    }

    fn put_right(&mut self, text: &str, bold: bool) {
        let x = RIGHT - width(&encoded(text), 10.0);
        self.put(x, text, 10.0, bold);
    }

    fn row(&mut self, label: &str, amount: Money, bold: bool) {
        self.put(LEFT, label, 10.0, bold);
        self.put_right(&amount.shown().to_string(), bold);
        self.down(1.0);
    }

    fn rule(&mut self) {
        let y = self.y + LEADING * 0.7;
        let Some(page) = self.pages.last_mut() else { return };
        page.set_line_width(0.5).move_to(LEFT, y).line_to(RIGHT, y).stroke();
    }
}

/// The document as a PDF: the same bytes for the same document. Texts are set in Helvetica; characters
/// outside of Western European (Windows-1252) become question marks.
pub fn pdf(issued: &IssuedDocument, buyer: &Buyer) -> Vec<u8> {
    let document = &issued.document;
    let mut w = Writer::new();
    w.put(LEFT, &document.seller.name, 12.0, true);
    w.down(1.0);
    for line in &document.seller.address {
        w.put(LEFT, line, 9.0, false);
        w.down(0.8);
    }
    w.put(LEFT, &format!("Tax number: {}", document.seller.tax_id), 9.0, false);
    w.down(3.0);
    let name = if buyer.name.is_empty() { &document.buyer } else { &buyer.name };
    for line in std::iter::once(name).chain(buyer.address.iter().take(6)) {
        w.put(LEFT, line, 10.0, false);
        w.down(1.0);
    }
    w.down(2.0);
    let title = match &document.kind {
        DocumentKind::Invoice => format!("Invoice {}", issued.number),
        DocumentKind::CreditNote { .. } => format!("Credit note {}", issued.number),
    };
    w.put(LEFT, &title, 16.0, true);
    w.down(2.0);
    if let DocumentKind::CreditNote { invoice } = &document.kind {
        w.put(LEFT, &format!("For invoice {invoice}"), 10.0, false);
        w.down(1.0);
    }
    w.put(LEFT, &format!("Date: {}", day(issued.issued_ms)), 10.0, false);
    w.down(1.0);
    w.put(LEFT, &format!("Service on: {}", day(document.supplied_ms)), 10.0, false);
    w.down(1.0);
    w.put(LEFT, &format!("Reference: {}", document.payment), 10.0, false);
    w.down(2.0);
    w.rule();
    for line in &document.lines {
        w.row(&line.label, line.amount, false);
    }
    w.rule();
    w.row("Net", document.net, false);
    w.row(&format!("Tax {} %", percent(document.tax_basis_points)), document.tax, false);
    w.row("Total", document.gross, true);
    if document.tax_included {
        w.down(1.0);
        w.put(LEFT, "The lines contain the tax.", 9.0, false);
    }
    assemble(w.pages, &title, &issued.number)
}

fn day(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(|| "-".to_owned(), |t| t.format("%Y-%m-%d").to_string())
}

fn percent(basis_points: u32) -> String {
    match basis_points % 100 {
        0 => format!("{}", basis_points / 100),
        rest => format!("{}.{rest:02}", basis_points / 100),
    }
}

fn assemble(contents: Vec<Content>, title: &str, number: &str) -> Vec<u8> {
    let [catalogue, tree, plain, bold, info] = [1, 2, 3, 4, 5].map(Ref::new);
    let count = i32::try_from(contents.len()).unwrap_or(1);
    let page_ref = |i: i32| Ref::new(6 + 2 * i);
    let mut pdf = Pdf::new();
    pdf.catalog(catalogue).pages(tree);
    pdf.pages(tree).kids((0..count).map(page_ref)).count(count);
    for (id, name) in [(plain, &b"Helvetica"[..]), (bold, b"Helvetica-Bold")] {
        pdf.type1_font(id).base_font(Name(name)).encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    pdf.document_info(info).title(TextStr(title)).creator(TextStr("Remuda"));
    for (i, mut content) in (0..count).zip(contents) {
        if count > 1 {
            let foot = format!("{number}, page {} of {count}", i + 1);
            let text = encoded(&foot);
            content.begin_text().set_font(Name(b"F"), 8.0).next_line(LEFT, 50.0).show(Str(&text)).end_text();
        }
        let (id, stream) = (page_ref(i), Ref::new(7 + 2 * i));
        let mut page = pdf.page(id);
        page.media_box(Rect::new(0.0, 0.0, PAGE.0, PAGE.1)).parent(tree).contents(stream);
        page.resources().fonts().pair(Name(b"F"), plain).pair(Name(b"B"), bold);
        page.finish();
        pdf.stream(stream, &content.finish());
    }
    pdf.finish()
}
