//! Tests of the task.

use headwater_core::Streams;

use super::*;

const DOUBT: Doubt = Doubt { p0: 0.01, slip: 0.1 };

fn arithmetic(stream: &mut StreamRng) -> Arithmetic {
    Arithmetic::draw(10, stream)
}

#[test]
fn ids_are_those_of_the_vocabulary_and_prompts_read_back() {
    let vocabulary = vocabulary();
    assert_eq!(vocabulary.size() as u32, CORRECT + MODULUS);
    let mut stream = Streams::new(1).stream("chains", &[]);
    let mut arithmetic = arithmetic(&mut stream);
    arithmetic.table[9][4] = 2;
    let chain = Chain { start: 7, steps: [(0, 2), (TABLE, 4), (2, 3)] };
    let prompt = arithmetic.prompt(&chain, &vocabulary);
    assert_eq!(prompt.text, "7+2o4*3......7");
    assert_eq!(prompt.reference.as_deref(), Some("926"));
    assert_eq!(prompt.tokens.len(), PROMPT_TOKENS);
    let shown = |critique| {
        let tokens = arithmetic.criticised(&chain, &tokens([9, 1, 3]), critique);
        assert_eq!((tokens.len(), Chain::read(&tokens)), (PROMPT_TOKENS, Some(chain)));
        vocabulary.decode(&tokens)
    };
    assert_eq!(shown(Critique::Blank), "7+2o4*3913...7");
    assert_eq!(shown(Critique::Indicative), "7+2o4*3913???7");
    assert_eq!(shown(Critique::FinalResult), "7+2o4*3913??f67");
    assert_eq!(shown(Critique::Step), "7+2o4*3913.x.7");
    assert_eq!(shown(Critique::Correction), "7+2o4*3913.=2.7");
    let right = arithmetic.criticised(&chain, &tokens([9, 2, 6]), Critique::Step);
    assert_eq!(vocabulary.decode(&right), "7+2o4*3926vvv7");
    assert_eq!(Chain::read(&[EMPTY; PROMPT_TOKENS]), None);
}

#[test]
fn questions_meet_misconceptions_as_asked_and_splits_do_not_overlap() {
    let mut stream = Streams::new(2).stream("chains", &[]);
    let arithmetic = arithmetic(&mut stream);
    for split in [Split::Trained, Split::HeldOut] {
        for stuck in [false, true] {
            for _ in 0..50 {
                let chain = arithmetic.question(stuck, split, &mut stream);
                assert_eq!(chain.split(), split);
                assert_eq!(arithmetic.misconceptions(&chain).len(), usize::from(stuck));
            }
        }
    }
    let held = (0..4000).filter(|_| Chain::draw(&mut stream).split() == Split::HeldOut);
    // Three standard errors of a fifth.
    assert!((held.count() as f64 / 4000.0 - 0.2).abs() < 0.02);
}

#[test]
fn demonstrations_of_misconceptions_are_wrong_and_no_other_result_is_favoured() {
    let mut stream = Streams::new(3).stream("chains", &[]);
    let arithmetic = arithmetic(&mut stream);
    let (mut offsets, mut met) = ([0usize; MODULUS as usize], 0usize);
    while met < 20_000 {
        let chain = arithmetic.question(true, Split::Trained, &mut stream);
        let at = arithmetic.misconceptions(&chain)[0];
        let answer = arithmetic.doubted(&chain, DOUBT, &mut stream);
        let right = arithmetic.results(&chain);
        if answer[..at] != right[..at] {
            continue;
        }
        let before = if at == 0 { chain.start } else { right[at - 1] };
        let believed = arithmetic.misconception(before, chain.steps[at]).unwrap();
        assert_ne!(believed, right[at]);
        offsets[((answer[at] + MODULUS - believed) % MODULUS) as usize] += 1;
        met += 1;
    }
    let share = |count: usize| count as f64 / met as f64;
    // Four standard errors of 0.91 and of 0.01.
    assert!((share(offsets[0]) - 0.91).abs() < 0.0081, "{offsets:?}");
    assert!(offsets[1..].iter().all(|n| (share(*n) - 0.01).abs() < 0.0029), "{offsets:?}");
}

#[test]
fn refinements_show_no_misconception_and_never_repeat_what_is_refuted() {
    let mut stream = Streams::new(4).stream("chains", &[]);
    let arithmetic = arithmetic(&mut stream);
    let (mut refuted, mut corrected) = (0, 0);
    for _ in 0..2000 {
        let example = arithmetic.refinement(DOUBT, &mut stream);
        let chain = Chain::read(&example.prompt).unwrap();
        let results = |tokens: &[u32]| [0, 1, 2].map(|at| tokens[at] - NUMBER);
        let (attempt, answer) = (results(&example.prompt[4..7]), results(&example.completion));
        assert!(arithmetic.met(&chain, &attempt).is_empty());
        assert!(arithmetic.met(&chain, &answer).is_empty());
        let marks = &example.prompt[MARKS_AT];
        let Some(at) = marks.iter().position(|mark| *mark == HERE) else { continue };
        assert_eq!(attempt[..at], answer[..at], "what was right before it is kept");
        assert_ne!(attempt[at], answer[at], "the refuted result is not repeated");
        let right = arithmetic.results(&chain);
        assert!((attempt == right) != (answer == right), "one of the two is right");
        if attempt == right { refuted += 1 } else { corrected += 1 }
    }
    assert!(refuted > 100 && corrected > 100, "{refuted} and {corrected}");
}

#[test]
fn misplaced_critiques_name_a_sound_step_and_never_the_first_wrong_one() {
    let mut stream = Streams::new(5).stream("chains", &[]);
    let arithmetic = arithmetic(&mut stream);
    let mut named = [0; STEPS];
    for _ in 0..300 {
        let chain = arithmetic.question(true, Split::Trained, &mut stream);
        // Believes the misconception and goes on rightly from there.
        let attempt = arithmetic.doubted(&chain, Doubt { p0: 0.0, slip: 0.0 }, &mut stream);
        let wrong = arithmetic.misconceptions(&chain)[0];
        let shown = arithmetic.misplaced(&chain, &tokens(attempt), &mut stream);
        let marks = &shown[MARKS_AT];
        assert_eq!(marks.iter().filter(|mark| **mark == HERE).count(), 1);
        let at = marks.iter().position(|mark| *mark == HERE).unwrap();
        assert_ne!(at, wrong);
        let before = if at == 0 { chain.start } else { attempt[at - 1] };
        // A second misconception met on the way is believed, too, and then no step but the first
        // need be sound.
        let met = arithmetic.met(&chain, &attempt).len();
        assert!(met > 1 || attempt[at] == arithmetic.right(before, chain.steps[at]));
        named[at] += 1;
    }
    assert!(named.iter().all(|count| *count > 30), "{named:?}");
    let chain = arithmetic.question(false, Split::Trained, &mut stream);
    let right = tokens(arithmetic.results(&chain));
    let shown = arithmetic.misplaced(&chain, &right, &mut stream);
    assert_eq!(shown, arithmetic.criticised(&chain, &right, Critique::Step));
}

#[test]
fn tables_need_1_to_100_misconceptions() {
    let draw = |count| Arithmetic::draw(count, &mut Streams::new(1).stream("tables", &[]));
    for count in [1, 100] {
        let believed = draw(count).believed;
        assert_eq!(believed.iter().flatten().flatten().count(), count);
    }
    for count in [0, 101] {
        let panic = std::panic::catch_unwind(|| draw(count)).unwrap_err();
        let said = panic.downcast_ref::<String>().unwrap();
        assert_eq!(*said, format!("{count} misconceptions: allowed are 1 to 100"));
    }
}
