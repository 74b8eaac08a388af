//! Plots as people see them.

use remuda_exports::Signal;

use super::*;

const BEGIN_NS: i64 = 1_700_000_000_000_000_000;
const SECOND_NS: i64 = 1_000_000_000;

fn column(path: &str, unit: &str, kind: HistoryKind) -> Column {
    let signal = Signal { path: path.into(), unit: unit.into(), decimals: Some(1) };
    Column::fixed(signal, kind, &["OFF", "ON"])
}

fn plotter(columns: Vec<Column>, colours: bool, ascii: bool) -> Plotter {
    Plotter {
        from_ns: BEGIN_NS,
        to_ns: BEGIN_NS + 600 * SECOND_NS,
        width: 60,
        height: 6,
        colours,
        ascii,
        columns,
        lines: BTreeMap::new(),
    }
}

fn drawn(plotter: &Plotter) -> String {
    let mut out = Vec::new();
    plotter.draw(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn batch(vehicle: &str, values: &[f64], step: i64) -> Batch {
    let times = (0..values.len() as i64).map(|n| BEGIN_NS + n * step * SECOND_NS).collect();
    Batch { vehicle: vehicle.into(), times, values: vec![values.iter().map(|v| Some(*v)).collect()] }
}

#[test]
fn a_ramp_rises_from_the_lower_left_to_the_upper_right() {
    let mut plotter = plotter(vec![column("Vehicle.Speed", "km/h", HistoryKind::Number)], false, true);
    let values: Vec<f64> = (0..=100).map(f64::from).collect();
    plotter.batch(&[], &batch("V1", &values, 6)).unwrap();
    let expected = "\
* V1 Vehicle.Speed [km/h]
100 |                                              *********
    |                                     **********
 50 |                           **********
    |                  **********
    |        **********
  0 |*********
    +-------------------------------------------------------
     2023-11-14 22:13 UTC   22:18      22:20      22:22
";
    let drawn = drawn(&plotter);
    assert_eq!(drawn, expected, "\n{drawn}");
}

#[test]
fn without_colours_each_line_has_a_panel_and_with_them_a_unit_has() {
    let columns = vec![column("Vehicle.Speed", "km/h", HistoryKind::Number)];
    for (colours, axes) in [(false, 2), (true, 1)] {
        let mut plotter = plotter(columns.clone(), colours, false);
        plotter.batch(&[], &batch("V1", &[1.0, 2.0], 60)).unwrap();
        plotter.batch(&[], &batch("V2", &[2.0, 1.0], 60)).unwrap();
        let drawn = drawn(&plotter);
        assert_eq!(drawn.matches('└').count(), axes, "\n{drawn}");
        assert_eq!(drawn.contains('\x1b'), colours, "\n{drawn}");
        assert!(
            drawn.contains("V1 Vehicle.Speed [km/h]") && drawn.contains("V2 Vehicle.Speed [km/h]"),
            "\n{drawn}"
        );
        assert!(drawn.chars().any(|c| ('\u{2801}'..='\u{28ff}').contains(&c)), "\n{drawn}");
    }
}

#[test]
fn a_gap_is_no_line_and_a_state_is_no_slope() {
    let mut plotter = plotter(vec![column("State", "", HistoryKind::Enumeration)], false, true);
    let mut samples = batch("V1", &[0.0, 1.0, 1.0], 1);
    samples.times = vec![BEGIN_NS, BEGIN_NS + 20 * SECOND_NS, BEGIN_NS + 590 * SECOND_NS];
    plotter.batch(&[], &samples).unwrap();
    let drawn = drawn(&plotter);
    assert!(drawn.starts_with("* V1 State: 0 = OFF, 1 = ON\n"), "\n{drawn}");
    let top = drawn.lines().nth(1).unwrap();
    assert!(top.contains("*    "), "\n{drawn}");
    assert_eq!(top.matches('*').count(), 2, "\n{drawn}");
}

#[test]
fn too_many_lines_are_refused_and_nothing_is_drawn_of_nothing() {
    let mut plotter = plotter(vec![column("Vehicle.Speed", "km/h", HistoryKind::Number)], false, false);
    assert!(!plotter.draw(&mut Vec::new()).unwrap());
    plotter.batch(&[], &batch("V0", &[f64::NAN], 1)).unwrap();
    assert!(!plotter.draw(&mut Vec::new()).unwrap());
    let refused = (0..=LINES_MAX).find_map(|n| plotter.batch(&[], &batch(&format!("V{n}"), &[1.0], 1)).err());
    assert!(matches!(refused, Some(CtlError::Usage(_))));
}

#[test]
fn axes_hold_any_values() {
    let extremes =
        [(0.0, 0.0), (-5.0, -5.0), (1e-9, 2e-9), (-1e12, 1e12), (99.9, 100.1), (1e15, 1e15), (-0.3, 0.7)];
    for (low, high) in extremes {
        for height in [3, 6, 12, 50] {
            let axis = axes::values(low, high, height);
            assert!(axis.low <= low && axis.high >= high && axis.high > axis.low, "{low} to {high}");
            assert!((2..=height + 2).contains(&axis.ticks.len()), "{low} to {high}: {:?}", axis.ticks);
        }
    }
    for span in
        [1_i64, SECOND_NS, 3_600 * SECOND_NS, 86_400 * SECOND_NS, 31_622_400 * SECOND_NS, i64::MAX / 2]
    {
        for columns in [10, 60, 300] {
            let line = axes::times(BEGIN_NS, BEGIN_NS.saturating_add(span), columns);
            assert!(!line.is_empty() && line.len() <= columns.max(20), "{span}: {line}");
        }
    }
}
