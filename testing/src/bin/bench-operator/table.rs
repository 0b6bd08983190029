//! A table of two columns that is filled one after the other. Prints; computes nothing.

/// The table.
pub struct Table {
    heads: [String; 2],
    rows: Vec<(String, Vec<String>)>,
    column: usize,
    next: usize,
}

impl Table {
    pub fn new(heads: [String; 2]) -> Self {
        Self {
            heads,
            rows: Vec::new(),
            column: 0,
            next: 0,
        }
    }

    /// The next row of the column; the same rows come in the same order in each.
    pub fn row(&mut self, what: &str, value: impl Into<String>) {
        let value = value.into();
        match self.rows.get_mut(self.next).filter(|_| self.column > 0) {
            Some((_, values)) => values.push(value),
            None => self.rows.push((what.to_owned(), vec![value])),
        }
        self.next += 1;
    }

    pub fn end_column(&mut self) {
        self.column += 1;
        self.next = 0;
    }

    pub fn print(&self) {
        let [first, second] = &self.heads;
        println!("{:<44}{first:<48}{second}\n", "");
        for (what, values) in &self.rows {
            let of = |index: usize| values.get(index).map_or("", String::as_str);
            println!("{what:<44}{:<48}{}", of(0), of(1));
        }
        println!();
    }
}
