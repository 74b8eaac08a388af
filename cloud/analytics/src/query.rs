//! Questions and answers, bounded.

use std::collections::BTreeMap;

use remuda_entities::projection::{Poisoned, Projected};
use remuda_model::OrganizationId;
use serde::{Deserialize, Serialize};

use crate::apply::{Analytics, Doubt};
use crate::limits::{CELLS_MAX, PAGE, PROVISIONAL_MAX, QUERY_DAYS_MAX, ROWS_MAX};
use crate::{Dimension, Figures, Granularity, bucket_start, keys};

/// Tells the sequence up to which the samples of a vehicle's agent since one of its starts (its incarnation)
/// have come.
pub type SamplesOf<'a> = &'a (dyn Fn(&str, u64) -> Option<u64> + Sync);

/// Tells whether a vehicle is among those that are asked about.
pub type VehiclesOf<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// How long a bucket is.
    pub granularity: Granularity,
    /// What figures are grouped by.
    pub dimension: Dimension,
    /// This value only, such as a vehicle's id.
    #[serde(default)]
    pub value: Option<String>,
    /// From the bucket that holds this moment, ms since 1970 UTC.
    pub from_ms: i64,
    /// To before this moment, ms since 1970 UTC.
    pub to_ms: i64,
    /// Rows at most, 1 to 10,000.
    pub limit: usize,
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// When the bucket began, ms since 1970 UTC.
    pub start_ms: i64,
    /// The dimension's value.
    pub value: String,
    /// Sums.
    pub figures: Figures,
}

/// The answer: rows by time, then value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Rows.
    pub rows: Vec<Row>,
    /// Ask again from this moment for the rest, ms since 1970 UTC: the limit was reached.
    pub next_from_ms: Option<i64>,
    /// IANA name of the time zone whose midnight ends a day.
    pub time_zone: &'static str,
}

/// A question that is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Not a time.
    #[error("from {from_ms} to {to_ms} is no time; the end must lie after the beginning, at most ten years")]
    Range {
        /// Beginning.
        from_ms: i64,
        /// End.
        to_ms: i64,
    },
    /// Not a limit.
    #[error("a limit is 1 to {ROWS_MAX} rows, not {0}")]
    Limit(usize),
    /// More than one bucket's rows.
    #[error("one bucket alone has more than {0} rows; ask for one value, or for more rows")]
    TooWide(usize),
    /// Some vehicles have no sums by this dimension.
    #[error("figures of some vehicles are summed up or grouped by vehicle, not by {0}")]
    OfVehicles(&'static str),
    /// Too much to look at.
    #[error("more than {CELLS_MAX} cells would be looked at; ask for a shorter time or longer buckets")]
    TooMuch,
    /// The figures cannot be read.
    #[error("the figures cannot be read: {0}")]
    Store(String),
}

impl From<Poisoned> for QueryError {
    fn from(error: Poisoned) -> Self {
        Self::Store(error.to_string())
    }
}

/// Answers questions.
#[derive(Clone)]
pub struct Reader {
    projected: Projected<Analytics>,
    zone: chrono_tz::Tz,
}

/// By which dimension the figures lie that sums of some vehicles are made of.
fn of_vehicles(asked: Dimension) -> Result<Dimension, QueryError> {
    match asked {
        Dimension::Organization | Dimension::Vehicle => Ok(Dimension::Vehicle),
        Dimension::Fleet | Dimension::Depot | Dimension::Model | Dimension::Tariff => {
            Err(QueryError::OfVehicles(asked.name()))
        }
    }
}

impl Reader {
    /// Over a running projection.
    pub fn new(projected: Projected<Analytics>, zone: chrono_tz::Tz) -> Self {
        Self { projected, zone }
    }

    /// Answers a question. With `samples`, trips whose samples have come are no longer counted as provisional.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn ask(
        &self,
        organization: &OrganizationId,
        query: &Query,
        samples: Option<SamplesOf<'_>>,
    ) -> Result<Answer, QueryError> {
        self.answer(organization, query, samples, None)
    }

    /// As [`Reader::ask`], of some vehicles: the organisation's sums are those of them, and grouped by vehicle they are the only
    /// rows. Cells of the others are looked at too.
    ///
    /// # Errors
    /// [`QueryError`].
    pub fn ask_of(
        &self,
        organization: &OrganizationId,
        query: &Query,
        samples: Option<SamplesOf<'_>>,
        vehicles: VehiclesOf<'_>,
    ) -> Result<Answer, QueryError> {
        self.answer(organization, query, samples, Some(vehicles))
    }

    fn answer(
        &self,
        organization: &OrganizationId,
        query: &Query,
        samples: Option<SamplesOf<'_>>,
        vehicles: Option<VehiclesOf<'_>>,
    ) -> Result<Answer, QueryError> {
        let Query { granularity, dimension, value, from_ms, to_ms, limit } = query;
        let days = to_ms.saturating_sub(*from_ms) / 86_400_000;
        if from_ms >= to_ms || *from_ms < 0 || days > QUERY_DAYS_MAX {
            return Err(QueryError::Range { from_ms: *from_ms, to_ms: *to_ms });
        }
        if !(1..=ROWS_MAX).contains(limit) {
            return Err(QueryError::Limit(*limit));
        }
        let first_ms = bucket_start(self.zone, *granularity, *from_ms);
        let summed = if vehicles.is_some() { of_vehicles(*dimension)? } else { *dimension };
        let prefix = keys::cells(organization, *granularity, summed);
        // The cell with the empty value of the first bucket is wanted: the place before it.
        let mut after =
            keys::cell(organization, *granularity, summed, first_ms.saturating_sub(1), "\u{10ffff}");
        let mut rows: Vec<Row> = Vec::new();
        let mut looked = 0;
        let mut next_from_ms = None;
        'pages: loop {
            let page: Vec<(Vec<u8>, Figures)> = self.projected.scan(&prefix, Some(&after), PAGE)?;
            let Some((last, _)) = page.last() else { break };
            after.clone_from(last);
            for (place, figures) in page {
                let Some((start_ms, found)) = keys::parse_cell(&prefix, &place) else { continue };
                if start_ms >= *to_ms {
                    break 'pages;
                }
                looked += 1;
                if looked > CELLS_MAX {
                    return Err(QueryError::TooMuch);
                }
                let shown = if *dimension == Dimension::Organization { "" } else { found };
                let is_wanted = value.as_ref().is_none_or(|wanted| wanted == shown)
                    && vehicles.is_none_or(|are_of| are_of(found));
                if start_ms < first_ms || !is_wanted {
                    continue;
                }
                if let Some(row) = rows.last_mut()
                    && row.start_ms == start_ms
                    && row.value == shown
                {
                    // Another vehicle of the same sum.
                    row.figures.add(&figures, 1);
                    continue;
                }
                if rows.len() == *limit {
                    // Whole buckets only, so that the rest can be asked for by time.
                    rows.retain(|row| row.start_ms < start_ms);
                    next_from_ms = Some(start_ms);
                    break 'pages;
                }
                rows.push(Row { start_ms, value: shown.to_owned(), figures });
            }
        }
        if next_from_ms.is_some() && rows.is_empty() {
            return Err(QueryError::TooWide(*limit));
        }
        if let Some(samples) = samples {
            self.settle(organization, query, samples, vehicles, &mut rows)?;
        }
        Ok(Answer { rows, next_from_ms, time_zone: self.zone.name() })
    }

    /// Takes trips whose samples have come out of the count of provisional ones.
    fn settle(
        &self,
        organization: &OrganizationId,
        query: &Query,
        samples: SamplesOf<'_>,
        vehicles: Option<VehiclesOf<'_>>,
        rows: &mut [Row],
    ) -> Result<(), QueryError> {
        let prefix = keys::doubts(organization);
        let doubts: Vec<(Vec<u8>, Doubt)> = self.projected.scan(&prefix, None, PROVISIONAL_MAX)?;
        let mut come: BTreeMap<(i64, String), i64> = BTreeMap::new();
        for (_, doubt) in doubts {
            if vehicles.is_some_and(|are_of| !are_of(&doubt.values.vehicle)) {
                continue;
            }
            let reached = samples(&doubt.values.vehicle, doubt.samples.incarnation);
            if reached.is_some_and(|seq| seq >= doubt.samples.seq) {
                let start_ms = bucket_start(self.zone, query.granularity, doubt.end_ms);
                *come.entry((start_ms, doubt.values.of(query.dimension).to_owned())).or_insert(0) += 1;
            }
        }
        for row in rows {
            if let Some(count) = come.get(&(row.start_ms, row.value.clone())) {
                row.figures.provisional_trips = (row.figures.provisional_trips - count).max(0);
            }
        }
        Ok(())
    }
}
