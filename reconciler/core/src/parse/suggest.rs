//! "Did you mean".

/// The candidate that the word was probably meant to be.
pub(crate) fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let wanted = plain(word);
    let longest = wanted.chars().count();
    // A third of the letters may be wrong; a stranger word is no misspelling.
    let allowed = (longest / 3).max(1);
    if longest > 64 {
        return None;
    }
    // `cpu` is a part of `vcpus`, and `memorySize` more than `memory`.
    let part = |a: &str, b: &str, least: usize| a.len() >= least && b.contains(a);
    candidates
        .iter()
        .map(|candidate| (plain(candidate), *candidate))
        .map(|(known, candidate)| {
            let related = part(&wanted, &known, 3) || part(&known, &wanted, 5);
            (distance(&wanted, &known), related, candidate)
        })
        .filter(|(distance, related, _)| *related || *distance <= allowed)
        .min_by_key(|(distance, ..)| *distance)
        .map(|(.., candidate)| candidate)
}

/// Words for a sentence: "`a`, `b`, `c`".
pub(crate) fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}

/// `run_policy`, `run-policy` and `RunPolicy` are all meant to be `runPolicy`.
fn plain(word: &str) -> String {
    word.chars()
        .filter(|c| !matches!(c, '_' | '-' | ' '))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Insertions, removals, replacements and swaps of neighbours that lead from
/// one word to the other (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let mut best = (above[j] + usize::from(from != to))
                .min(above[j + 1] + 1)
                .min(row[j] + 1);
            if i > 0 && j > 0 && *from == b[j - 1] && a[i - 1] == *to {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}
