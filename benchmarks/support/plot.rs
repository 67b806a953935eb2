//! Plots as SVG, for the documentation. They are drawn where `PLOTS` names a folder, and nowhere else.
//!
//! The colours are those of Okabe and Ito, which the colour-blind tell apart, on white, which is seen on a dark page as well.

#![allow(dead_code, reason = "every user takes a part of it")]

use std::{env, fs, ops::Range, path::Path};

use plotters::{
    coord::{
        Shift,
        ranged1d::{KeyPointHint, NoDefaultFormatting, ValueFormatter},
    },
    element::{DynElement, IntoDynElement},
    prelude::{
        ChartBuilder, Circle, Color, Cross, DrawingArea, IntoDrawingArea, IntoFont, PathElement, Polygon, RGBColor,
        Ranged, SVGBackend, Text, TextStyle, TriangleMarker, WHITE,
    },
};

/// Panels in rows, with a legend above them.
pub struct Figure {
    /// Of the file, without `.svg`.
    pub name: &'static str,
    pub columns: usize,
    /// Pixels of a panel.
    pub height: u32,
    pub panels: Vec<Panel>,
}

pub struct Panel {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
}

#[derive(Clone)]
pub struct Axis {
    title: &'static str,
    log: bool,
    range: Range<f64>,
    ticks: Vec<(f64, String)>,
}

/// Those of one name have one entry in the legend; one without a name has none.
pub struct Series {
    name: &'static str,
    color: RGBColor,
    mark: Mark,
    points: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Line,
    /// A thin line.
    Hair,
    Circles,
    Triangles,
    Crosses,
    /// What the points are around.
    Area,
}

pub const BLACK: RGBColor = RGBColor(0, 0, 0);
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
pub const GREEN: RGBColor = RGBColor(0, 158, 115);
pub const GREY: RGBColor = RGBColor(120, 120, 120);
pub const VERMILION: RGBColor = RGBColor(213, 94, 0);

/// Of a page of documentation.
const WIDTH: u32 = 880;
const LEGEND: u32 = 28;
const FONT: (&str, u32) = ("sans-serif", 15);
/// What plotters says of each text, and what is said of all of them once instead.
const EACH_TEXT: &str = r##" font-family="sans-serif" font-size="12.096774193548388" opacity="1" fill="#000000""##;
const ALL_TEXT: &str = r#"<svg font-family="sans-serif" font-size="12" "#;
/// Pixels of a character, on average.
const CHARACTER: f64 = 6.2;

type Backend<'a> = SVGBackend<'a>;
type Area<'a> = DrawingArea<Backend<'a>, Shift>;

// === impl Figure ===

impl Figure {
    pub fn save(&self) {
        let Some(folder) = env::var_os("PLOTS") else { return };
        fs::create_dir_all(&folder).expect("a folder for plots");
        let file = Path::new(&folder).join(self.name).with_extension("svg");
        fs::write(&file, self.svg()).expect("a plot is written");
        println!("drawn: {}", file.display());
    }

    pub fn svg(&self) -> String {
        let rows = self.panels.len().div_ceil(self.columns);
        let mut text = String::new();
        let root = SVGBackend::with_string(&mut text, (WIDTH, LEGEND + rows as u32 * self.height)).into_drawing_area();
        root.fill(&WHITE).expect("memory");
        let (legend, panels) = root.split_vertically(LEGEND);
        self.legend(&legend);
        for (panel, area) in self.panels.iter().zip(panels.split_evenly((rows, self.columns))) {
            panel.draw(&area);
        }
        root.present().expect("memory");
        drop((root, legend, panels));
        text.replacen("<svg ", ALL_TEXT, 1).replace(EACH_TEXT, "").replace(r#" opacity="1""#, "")
    }

    fn legend(&self, area: &Area) {
        let (mut names, mut x) = (Vec::new(), 64);
        for series in self.panels.iter().flat_map(|panel| &panel.series) {
            if series.name.is_empty() || names.contains(&series.name) {
                continue;
            }
            names.push(series.name);
            let y = LEGEND as i32 / 2;
            let swatch: &[(i32, i32)] = match series.mark {
                Mark::Line | Mark::Hair => &[(x, y), (x + 18, y)],
                Mark::Area => &[(x, y - 6), (x + 18, y - 6), (x + 18, y + 6), (x, y + 6)],
                Mark::Circles | Mark::Triangles | Mark::Crosses => &[(x + 9, y)],
            };
            series.mark(swatch).iter().for_each(|shape| area.draw(shape).expect("memory"));
            area.draw(&Text::new(series.name, (x + 24, y - 7), font())).expect("memory");
            x += 48 + (CHARACTER * series.name.chars().count() as f64) as i32;
        }
    }
}

fn font() -> TextStyle<'static> {
    FONT.into_font().into()
}

// === impl Panel ===

impl Panel {
    fn draw(&self, area: &Area) {
        let mut chart = ChartBuilder::on(area)
            .caption(&self.title, font())
            .margin(6)
            .margin_right(24)
            .x_label_area_size(38)
            .y_label_area_size(self.y.width())
            .build_cartesian_2d(self.x.clone(), self.y.clone())
            .expect("memory");
        let mut mesh = chart.configure_mesh();
        mesh.label_style(font()).axis_desc_style(font()).bold_line_style(BLACK.mix(0.12));
        mesh.x_desc(self.x.title).y_desc(self.y.title).draw().expect("memory");
        for series in &self.series {
            chart.draw_series(series.mark(&series.points)).expect("memory");
        }
    }
}

// === impl Axis ===

impl Axis {
    /// From the first tick to the last.
    pub fn linear(title: &'static str, ticks: &[f64]) -> Self {
        let range = ticks[0]..ticks[ticks.len() - 1];
        Self { title, log: false, range, ticks: ticks.iter().map(|tick| (*tick, number(*tick))).collect() }
    }

    /// From the first tick to the last, all of them above 0.
    pub fn log(title: &'static str, ticks: &[f64]) -> Self {
        Self { log: true, ..Self::linear(title, ticks) }
    }

    /// What has names has the numbers from 0 on.
    pub fn names(title: &'static str, names: &[&str]) -> Self {
        let ticks = names.iter().enumerate().map(|(number, name)| (number as f64, (*name).to_owned()));
        Self { title, log: false, range: -0.5..names.len() as f64 - 0.5, ticks: ticks.collect() }
    }

    /// Pixels beside the plot, for labels of the ticks and the title.
    fn width(&self) -> u32 {
        let longest = self.ticks.iter().map(|(_, label)| label.chars().count()).max().unwrap_or_default();
        30 + (CHARACTER * longest.max(4) as f64) as u32
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    /// What is outside is drawn at the edge.
    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let scaled = |value: f64| if self.log { value.ln() } else { value };
        let [start, value, end] =
            [self.range.start, value.clamp(self.range.start, self.range.end), self.range.end].map(scaled);
        from + (f64::from(to - from) * (value - start) / (end - start)).round() as i32
    }

    fn key_points<H: KeyPointHint>(&self, hint: H) -> Vec<f64> {
        let ticks = self.ticks.iter().map(|(at, _)| *at);
        if hint.weight().allow_light_points() { Vec::new() } else { ticks.collect() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format(tick: &f64) -> String {
        number(*tick)
    }

    fn format_ext(&self, tick: &f64) -> String {
        self.ticks.iter().find(|(at, _)| at == tick).map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

/// With commas between thousands.
pub fn number(value: f64) -> String {
    let mut text = value.to_string();
    let whole = text.find('.').unwrap_or(text.len());
    (1..whole).rev().filter(|at| (whole - at).is_multiple_of(3)).for_each(|at| text.insert(at, ','));
    text
}

// === impl Series ===

impl Series {
    pub fn new(name: &'static str, color: RGBColor, mark: Mark, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self { name, color, mark, points: points.into_iter().collect() }
    }

    fn mark<'a, C: Clone + 'static>(&self, points: &[C]) -> Vec<DynElement<'static, Backend<'a>, C>> {
        let (color, points) = (self.color, points.to_vec());
        let each = |shape: fn(C, RGBColor) -> DynElement<'static, Backend<'a>, C>| {
            points.iter().map(|at| shape(at.clone(), color)).collect()
        };
        match self.mark {
            Mark::Line => vec![PathElement::new(points, color.stroke_width(2)).into_dyn()],
            Mark::Hair => vec![PathElement::new(points, color.stroke_width(1)).into_dyn()],
            Mark::Area => vec![Polygon::new(points, color.mix(0.15)).into_dyn()],
            Mark::Circles => each(|at, color| Circle::new(at, 3, color.filled()).into_dyn()),
            Mark::Triangles => each(|at, color| TriangleMarker::new(at, 4, color.filled()).into_dyn()),
            Mark::Crosses => each(|at, color| Cross::new(at, 3, color.stroke_width(2)).into_dyn()),
        }
    }
}
