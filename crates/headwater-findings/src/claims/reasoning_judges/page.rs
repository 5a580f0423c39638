//! Figures and tables of the finding.

use headwater_report::{Along, Column, Figure, Part, Scale, Table, Value};

use crate::experiments::reasoning_judges::{
    ACCURACY_DEEP, ACCURACY_LONGER, ACCURACY_TRAINED, BEST_OF_16, BEST_OF_N, BLIND, BY_CAP,
    BY_LENGTH, CALLS, CEILING, CONDORCET, CONSISTENT, DIRECT, FILTERED, FOREIGN, GENERATED,
    KNOCKOUT, KNOCKOUT_VOTES, LABELS, LEADS, LENGTHS, LOSS_AT_THE_END, MOST, NO_VERDICT, PLAIN,
    REASONING, REASONING_RL, RL_ONLY, SCALAR, STOPPED, STOPPED_CALLS, TAG_ON_RIGHT, TAG_ON_WRONG,
    TAGGED, TOKENS, TOKENS_BY_LENGTH, TRAINED, VOTES, everyone, of_long_chains,
};

pub(super) fn part() -> Part {
    Part::new("").figures([by_depth(), cut_short(), votes()]).figures(selection()).tables([
        accuracy(),
        compute(),
        stopping(),
        selected(),
        written(),
        cost(),
    ])
}

fn by_depth() -> Figure {
    Figure::lines("Accuracy by depth", "steps of the chain", "accuracy, greedy")
        .value_range(0.4, 1.0)
        .reference("chance", 0.5)
        .caption(
            "Trained on 1 to 6 steps. The tag tells nothing here; both orders of a pair are \
             judged. Direct and scalar judges had at least as many training tokens and labels as \
             the reasoning one.",
        )
        .curves(&BY_LENGTH, &Along::counts(LENGTHS), shown())
}

/// The judges of the figures.
fn shown() -> [headwater_protocol::Arm; 6] {
    [SCALAR, DIRECT, REASONING, FOREIGN, REASONING_RL, RL_ONLY]
}

fn cut_short() -> Figure {
    let label = "partial results that the judge may write";
    Figure::lines(
        "The derivation cut short, chains of 6 steps",
        label,
        "accuracy of the likelier verdict",
    )
    .value_range(0.4, 1.0)
    .reference("chance", 0.5)
    .caption(
        "Its own greedy partial results up to the limit, then whichever verdict is the likelier \
         next token. What comes before the last result is no answer to the question.",
    )
    .curves(
        &BY_CAP,
        &Along::counts(0..=*TRAINED.end()),
        [REASONING, FOREIGN, REASONING_RL, RL_ONLY],
    )
}

fn votes() -> Figure {
    let counts = Along::counts(VOTES);
    Figure::lines(
        "The reasoning judge by number of votes",
        "votes per pair",
        "accuracy, chains of 4 to 12 steps",
    )
    .reference("greedy", ACCURACY_DEEP.of(REASONING))
    .reference("limit of votes", CEILING.of(REASONING))
    .caption(
        "Every vote in an order of its own. Condorcet: what independent votes would give if each \
         pair's share of right votes, estimated from 32 judgements, were its probability; the \
         limit is the share of pairs where it is above one half. Filtered: the better half of the \
         votes by what a classifier says of each judgement. Stopped: the x is the mean number of \
         votes until a lead of 1 to 4, at most 15.",
    )
    .curve("votes", &PLAIN, &counts, REASONING)
    .curve("Condorcet", &CONDORCET, &counts, REASONING)
    .curve("filtered votes", &FILTERED, &counts, REASONING)
    .curve("stopped at a lead", &STOPPED, &Along::Series(STOPPED_CALLS), REASONING)
}

fn selection() -> [Figure; 2] {
    let by_n = |title: &str, label: &str| {
        Figure::lines(title, "n of best-of-n", label).x_scale(Scale::Log2).value_range(0.0, 1.0)
    };
    let ns = Along::counts(1..=MOST);
    [
        by_n("Each judge as the reward of best-of-n", "share right of the selected")
            .caption(
                "Candidates of chains of 6 steps from a generator that slips with probability 0.15 \
                 at each step; ratings from a round robin with 5 votes per pair of distinct \
                 candidates. A rating that tells nothing picks one of the distinct candidates of a \
                 pool at random; wrong ones are many, so it selects worse than no selection.",
            )
            .curves(&BEST_OF_N, &ns, shown())
            .reference("blind rating of all 16", BLIND.of(SCALAR)),
        by_n("What selection does to the tag", "share of the selected with the tag")
            .caption(
                "The generator tags at random, so 1/2 is no preference. In training the tag went \
                 with the right candidate in 80% of the pairs that had one tag. A judge that knows \
                 the answer may still prefer the tag between two equal answers.",
            )
            .curves(&TAGGED, &ns, shown())
            .reference("no preference", 0.5),
    ]
}

fn accuracy() -> Table {
    let columns =
        [ACCURACY_TRAINED, TAG_ON_RIGHT, TAG_ON_WRONG, ACCURACY_LONGER, CONSISTENT, NO_VERDICT];
    Table::of_arms("Every judge", "judge", of_long_chains(), columns.map(Column::from)).note(
        "Greedy; a judgement without a verdict counts one half. Columns with a tag are on 4 to 6 \
         steps.",
    )
}

fn cost() -> Table {
    let columns = [LABELS, TOKENS, LOSS_AT_THE_END, GENERATED].map(Column::from);
    Table::of_arms("What training cost", "judge", everyone(), columns).note(
        "Tokens are those of prompt and completion, without padding. A scalar judge reads both \
         candidates apart. Losses of different judges are of different tokens. Reinforced judges: \
         in addition to the judge they start from.",
    )
}

fn compute() -> Table {
    let columns = [
        Column::from(ACCURACY_DEEP),
        Column::at("1 vote", &PLAIN, 0),
        Column::last("15 votes", &PLAIN),
        Column::from(CEILING),
        Column::last("best 8 of 15", &FILTERED),
    ];
    let title = "Test-time compute, chains of 4 to 12 steps";
    Table::of_arms(title, "judge", of_long_chains(), columns).note(
        "Votes at temperature 1, each in an order of its own. The limit is what ever more votes \
         would tend to.",
    )
}

fn stopping() -> Table {
    let heads = ["lead", "accuracy", "mean votes"];
    let table = Table::new("The reasoning judge stopped at a lead", heads);
    LEADS.into_iter().enumerate().fold(table, |table, (at, lead)| {
        table.row([
            Value::Number(lead as f64, 0),
            STOPPED.at(at, REASONING).into(),
            STOPPED_CALLS.at(at, REASONING).into(),
        ])
    })
}

fn selected() -> Table {
    let of_knockouts = KNOCKOUT_VOTES.into_iter().enumerate().map(|(at, votes)| {
        let calls = (MOST - 1) * votes;
        let heading = format!("knockout, {votes} per match ({calls} calls)");
        Column::at(heading, &KNOCKOUT, at)
    });
    let columns = [
        Column::at("one candidate", &BEST_OF_N, 0),
        BEST_OF_16.into(),
        CALLS.into(),
        Column::at("tagged", &TAGGED, MOST - 1),
    ];
    let columns = columns.into_iter().chain(of_knockouts);
    Table::of_arms("Selection from 16 candidates", "judge", of_long_chains(), columns).note(
        "Share of right answers. Best of 16 by ratings from a round robin of distinct candidates; \
         tagged is the share of its choices that carry the tag.",
    )
}

fn written() -> Table {
    let columns = LENGTHS
        .into_iter()
        .enumerate()
        .map(|(at, length)| Column::at(length.to_string(), &TOKENS_BY_LENGTH, at));
    let arms = [DIRECT, REASONING, FOREIGN, REASONING_RL, RL_ONLY];
    Table::of_arms("Tokens written per verdict, by steps of the chain", "judge", arms, columns)
}
