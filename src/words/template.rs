//! The syntax of sentence templates: text, placeholders in braces, and optional parts in brackets.

/// Text, or a placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Text(&'a str),
    Field(Field<'a>),
}

/// A placeholder `{names:form:words}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'a> {
    /// Names of fields, separated by `|`; the first one that has a value counts.
    pub names: &'a str,
    pub form: &'a str,
    /// Plural forms of the counted noun.
    pub words: &'a str,
}

/// The parts of a template, with `true` for the optional ones.
pub(super) fn segments(template: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut rest = template;
    std::iter::from_fn(move || {
        let (is_optional, end, next) = if let Some(after) = rest.strip_prefix('[') {
            rest = after;
            let end = after.find(']').unwrap_or(after.len());
            (true, end, (end + 1).min(after.len()))
        } else {
            let end = rest.find('[').unwrap_or(rest.len());
            (false, end, end)
        };
        let segment = &rest[..end];
        rest = &rest[next..];
        (is_optional || !segment.is_empty()).then_some((is_optional, segment))
    })
}

/// The tokens of a part.
pub(super) fn tokens(segment: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = segment;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let inner = rest.strip_prefix('{').and_then(|after| after.split_once('}'));
        let Some((inner, after)) = inner else {
            let end = rest.find('{').filter(|end| *end > 0).unwrap_or(rest.len());
            let (text, after) = rest.split_at(end);
            rest = after;
            return Some(Token::Text(text));
        };
        rest = after;
        let mut parts = inner.splitn(3, ':');
        let mut part = || parts.next().unwrap_or_default();
        Some(Token::Field(Field { names: part(), form: part(), words: part() }))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_optional_parts_and_placeholders() {
        let parts: Vec<_> = segments("[{a|b} ]x {c:count:day|days}[!]").collect();
        assert_eq!(parts, [(true, "{a|b} "), (false, "x {c:count:day|days}"), (true, "!")]);
        let read: Vec<_> = tokens(parts[1].1).collect();
        let counted = Field { names: "c", form: "count", words: "day|days" };
        assert_eq!(read, [Token::Text("x "), Token::Field(counted)]);
    }
}
