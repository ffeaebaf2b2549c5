//! Numbers on pages.

use crate::language::Text;

/// `4,999`: with a separator between each three digits.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    if digits.len() <= 3 {
        return digits;
    }
    let separator = Text::key("number-separator").to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push_str(&separator);
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped_by_three() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (4999, "4,999"), (1_234_567, "1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
    }
}
