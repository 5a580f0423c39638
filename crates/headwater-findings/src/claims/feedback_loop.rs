//! What a recommender shows decides what it learns, and what is done about it.
//!
//! Zhao et al. 2019 ("Recommending What Video to Watch Next", RecSys): a ranker that takes clicks
//! for relevance learns its own decisions; a shallow tower for position takes the bias out, where
//! position as an input feature does not; and a mixture of experts with a gate for each task (MMoE,
//! Ma et al. 2018) learns tasks that conflict better than a shared bottom.
//!
//! Controls take the cause away: every slot examined, no legacy prior.
//!
//! Contrasts, directions and smallest effects were fixed after pilots on other users and items.
//! That position as a feature hurts was expected not to reproduce, and is registered as the paper
//! has it.

use headwater_protocol::{Claim, Contrast, Control, Finding, Measure, Registered, Scalar};
use headwater_report::Chapter;

use crate::experiments::feedback_loop_conflict::{self as conflict, FeedbackLoopConflict};
use crate::experiments::feedback_loop_logged::FeedbackLoopLogged;
use crate::experiments::feedback_loop_mixtures::{self as mixtures, FeedbackLoopMixtures, LOG_MSE};
use crate::experiments::feedback_loop_worlds::{
    EPSILON_SLOT, FEATURE_MISSING, FROZEN, FeedbackLoopWorlds, IPS_ESTIMATED, IPS_KNOWN, NAIVE,
    OPEN_LOOP, PAL, TOWER, TOWER_FAST, TOWER_NO_DROPOUT, TOWER_UNCROSSED, Who, arm,
};
use crate::experiments::looped::{
    ARRIVED, CURVE_RMSE, CURVE_SHARE, GINI, LEGACY, LIKE_AUC, LIKES, UTILITY, last, mean,
};
use headwater_data::DataDir;

mod page;

/// The finding.
pub(super) fn chapter(data: &DataDir) -> Chapter {
    Chapter {
        finding: Finding {
            id: "feedback-loop",
            claim: "A ranker that does not model selection bias amplifies its own decisions; a \
                    shallow tower for position and a mixture of experts with a gate for each task \
                    prevent it.",
            source: "Zhao et al. 2019, Recommending What Video to Watch Next, doi \
                     10.1145/3298689.3346997; Ma et al. 2018, MMoE, doi 10.1145/3219819.3220007; \
                     Hager et al. 2025, arXiv 2506.20501; data of Saito et al. 2020, arXiv \
                     2008.07146",
            experiments: vec![
                Box::new(FeedbackLoopWorlds),
                Box::new(FeedbackLoopMixtures),
                Box::new(FeedbackLoopConflict),
                Box::new(FeedbackLoopLogged { data: data.clone() }),
            ],
            claims: vec![tower(), amplifies(), both_needed()],
            further: of_remedies(),
            controls: vec![],
        },
        differs: &[
            "The published numbers are of live experiments with the users of a video site, in time \
             spent and in survey answers; here users, clicks and satisfaction are simulated, in \
             four worlds of 100 to 200 items, and utility is expected clicks or likes over those \
             of the ideal lists.",
            "Rankers have some thousand weights and features that suffice; the live one has \
             hundreds of features and learns from several candidate generators.",
            "Clicks follow a position-based model, in which position as an ordinary feature can be \
             set to one value when serving; why it hurt live is not known, and cannot show here.",
            "The tower has a bias for each slot of each device, of which there is one but in the \
             world with two; the live one crosses position with device type.",
            "The MMoE paper does not give the scale of its weights, the number of sines or their \
             frequencies, and picks each learning rate from a grid over 200 runs; here they are \
             fixed at one choice, with two spreads of frequencies.",
            "The logged recommendations are 10,000 rows per policy and campaign, with clicks in \
             less than one percent and three positions side by side: nothing is said there about \
             position bias.",
        ],
        parts: page::parts(),
    }
}

/// A metric of one server less that of another, in the same world.
fn against(metric: &Scalar, key: &str, server: Who, other: Who) -> Measure {
    metric.difference(arm(key, server), arm(key, other))
}

/// The utility ratio, averaged over all rounds but the first.
fn utility(key: &str, server: Who, other: Who) -> Measure {
    against(&mean(&UTILITY), key, server, other)
}

/// The same in the last round.
fn utility_last(key: &str, server: Who, other: Who) -> Measure {
    against(&last(&UTILITY), key, server, other)
}

fn tower() -> Claim {
    Claim {
        id: "feedback-loop/tower",
        sentence: "The shallow tower takes position bias out.",
        contrasts: vec![
            Contrast::increase("A, utility: tower - naive", utility("a", TOWER, NAIVE), 0.002)
                .published("+.24% engagement, live"),
            Contrast::increase("B, utility: tower - naive", utility("b", TOWER, NAIVE), 0.01),
            Contrast::increase("D, utility: tower - naive", utility("d", TOWER, NAIVE), 0.01),
            Contrast::increase(
                "read to the first click, utility: tower - naive",
                utility("cascade", TOWER, NAIVE),
                0.005,
            ),
            Contrast::increase(
                "two devices, utility: tower - naive",
                utility("devices", TOWER, NAIVE),
                0.01,
            ),
        ],
        controls: vec![
            Control::new(
                "every slot examined, utility: tower - naive",
                utility("open", TOWER, NAIVE),
                0.005,
            ),
            Control::new(
                "every slot examined, utility: PAL - naive",
                utility("open", PAL, NAIVE),
                0.01,
            ),
            Control::new(
                "every slot examined, utility: estimated propensities - naive",
                utility("open", IPS_ESTIMATED, NAIVE),
                0.01,
            ),
        ],
    }
}

fn amplifies() -> Claim {
    let gini = |server, other| against(&last(&GINI), "b", server, other);
    let legacy = |key, server, other| against(&last(&LEGACY), key, server, other);
    Claim {
        id: "feedback-loop/amplifies",
        sentence: "A ranker that does not model selection amplifies its own past decisions.",
        contrasts: vec![
            Contrast::increase(
                "B, Gini coefficient of exposure: naive - tower",
                gini(NAIVE, TOWER),
                0.01,
            ),
            Contrast::increase(
                "A, correlation of exposure with the legacy prior: naive - tower",
                legacy("a", NAIVE, TOWER),
                0.02,
            ),
            // Against a ranker that was trained as often, on as many sessions, of lists that it did
            // not make.
            Contrast::increase(
                "A, correlation with the legacy prior: naive in the loop - in an open loop",
                legacy("a", NAIVE, OPEN_LOOP),
                0.02,
            ),
            Contrast::increase(
                "B, Gini coefficient of exposure: naive in the loop - in an open loop",
                gini(NAIVE, OPEN_LOOP),
                0.01,
            ),
        ],
        controls: vec![Control::new(
            "A without the prior, correlation of exposure with it: naive - tower",
            legacy("fair", NAIVE, TOWER),
            0.02,
        )],
    }
}

fn both_needed() -> Claim {
    let likes = mean(&LIKES);
    let unrelated = |metric: &Scalar, ranker, other| {
        metric.difference(conflict::arm("unrelated", ranker), conflict::arm("unrelated", other))
    };
    // log(MSE of one network / MSE of another).
    let ratio = |setting, network, other| {
        LOG_MSE.difference(mixtures::arm(setting, network), mixtures::arm(setting, other))
    };
    Claim {
        id: "feedback-loop/both-needed",
        sentence: "Conflicting objectives need a mixture of experts with a gate for each, and both \
                   mechanisms are needed.",
        contrasts: vec![
            Contrast::decrease(
                "streamed, p = 0, frequencies N(0, 2.5²), log MSE: MMoE - shared bottom",
                ratio("p0-hard", mixtures::MMOE, mixtures::SHARED_BOTTOM),
                0.1,
            ),
            Contrast::decrease(
                "streamed, p = 0, frequencies N(0, 1), log MSE: MMoE - shared bottom",
                ratio("p0", mixtures::MMOE, mixtures::SHARED_BOTTOM),
                0.1,
            ),
            Contrast::unchanged(
                "streamed, p = 1, log MSE: MMoE - OMoE",
                ratio("p1", mixtures::MMOE, mixtures::OMOE),
                0.25,
            ),
            // As the stream's advantage is a decrease: not better by more than this.
            Contrast::not_below(
                "8,064 rows again and again, log MSE: MMoE - shared bottom",
                ratio("p0-hard-fixed", mixtures::MMOE, mixtures::SHARED_BOTTOM),
                0.05,
            ),
            Contrast::increase(
                "unrelated tasks, utility in likes: MMoE - shared bottom",
                unrelated(&likes, conflict::MMOE, conflict::SHARED_BOTTOM),
                0.005,
            )
            .published("+3.07% satisfaction against +1.89% at 6.1M multiplications, live"),
            Contrast::increase(
                "unrelated tasks, AUC of likes: MMoE - shared bottom",
                unrelated(&LIKE_AUC, conflict::MMOE, conflict::SHARED_BOTTOM),
                0.005,
            ),
            Contrast::increase(
                "unrelated tasks, utility in likes: MMoE, masked - unmasked",
                unrelated(&likes, conflict::MMOE, conflict::UNMASKED),
                0.005,
            ),
        ],
        controls: vec![],
    }
}

/// What else takes position bias out, and where each remedy ends.
fn of_remedies() -> Vec<Contrast> {
    vec![
        Contrast::increase(
            "C, utility: known propensities - naive",
            utility("c", IPS_KNOWN, NAIVE),
            0.02,
        ),
        Contrast::increase(
            "C, utility: known propensities - tower",
            utility("c", IPS_KNOWN, TOWER),
            0.01,
        ),
        // The paper's direction; the pilot's was the other.
        Contrast::decrease(
            "A, utility: position as a feature - naive",
            utility("a", FEATURE_MISSING, NAIVE),
            0.0005,
        )
        .published("-.07% engagement, live"),
        Contrast::increase(
            "C, utility, last round: known propensities - tower",
            utility_last("c", IPS_KNOWN, TOWER),
            0.01,
        ),
        Contrast::increase(
            "C, utility: tower with ten times the rate for places - tower",
            utility("c", TOWER_FAST, TOWER),
            0.01,
        ),
        Contrast::increase(
            "C, utility: tower without position dropout - tower",
            utility("c", TOWER_NO_DROPOUT, TOWER),
            0.01,
        ),
        Contrast::decrease(
            "share of its depth that the tower finds: C - B",
            CURVE_SHARE.difference(arm("c", TOWER), arm("b", TOWER)),
            0.2,
        ),
        Contrast::increase(
            "two devices, utility: tower crossed with the device - not crossed",
            utility("devices", TOWER, TOWER_UNCROSSED),
            0.005,
        )
        .registered(Registered::PostHoc),
        // A frozen ranker is behind wherever one round is too little to learn from; this is what
        // drift adds to that.
        Contrast::increase(
            "utility, last round, naive - frozen: drifting interests - lasting ones",
            utility_last("drift", NAIVE, FROZEN) - utility_last("lasting", NAIVE, FROZEN),
            0.01,
        )
        .registered(Registered::PostHoc),
        Contrast::increase(
            "C, utility, last round: tower with ten times the rate - known propensities",
            utility_last("c", TOWER_FAST, IPS_KNOWN),
            0.01,
        )
        .registered(Registered::PostHoc),
        Contrast::increase(
            "exposure of arrived items: epsilon slot - naive",
            against(&ARRIVED, "arriving", EPSILON_SLOT, NAIVE),
            0.01,
        ),
        Contrast::increase(
            "C, RMSE of the bias curve: tower - estimated from swaps",
            against(&CURVE_RMSE, "c", TOWER, IPS_ESTIMATED),
            0.3,
        ),
    ]
}
