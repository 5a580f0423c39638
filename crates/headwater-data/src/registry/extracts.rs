//! Sets that were made from what is published: each says how, and is had by hand.

use crate::{DataFile, DataSet};

const fn file(name: &'static str, bytes: u64, sha256: &'static str) -> DataFile {
    DataFile { name, bytes, sha256, origin: None }
}

pub(super) const ALPACA_EVAL_META: DataSet = DataSet {
    name: "alpaca-eval-meta",
    content: "AlpacaEval 2: win rates, lengths and judge biases, numbers only",
    licence: "Apache-2.0",
    source: "github.com/tatsu-lab/alpaca_eval",
    by_hand: Some(
        "Copy the two leaderboard tables of github.com/tatsu-lab/alpaca_eval at cd543a1, and count \
         lengths and marks and take the preferences out of \
         results/*/weighted_alpaca_eval_gpt4_turbo/annotations.json",
    ),
    files: &[
        file(
            "leaderboard_evaluators.csv",
            6_443,
            "db679d719e2a8705333ea2adbc184e77958226de58fe3146a815763e18ec5a3d",
        ),
        file(
            "leaderboard_models.csv",
            28_339,
            "fe32bf85c2f7429038faa4c9a884d1d131726454ff84a4b810a91c1c7a2aa0e9",
        ),
        file(
            "pairs_numeric.csv.gz",
            2_119_722,
            "1fd816dba09818c1d1a148df124a4d3f629fa3ac0500e060fbae091fd7a98ee9",
        ),
    ],
};

pub(super) const BIAS_PROBES: DataSet = DataSet {
    name: "bias-probes",
    content: "WinoBias, Winogender, BBQ (six categories), identity-term templates",
    licence: "MIT and CC BY 4.0",
    source: "github.com: uclanlp/corefBias, rudinger/winogender-schemas, nyu-mll/BBQ, \
             conversationai/unintended-ml-bias-analysis",
    by_hand: Some(
        "Write as tables the sentences of github.com: uclanlp/corefBias at 0bce984, \
         rudinger/winogender-schemas at 1c7f8b4, six categories of nyu-mll/BBQ at bea11bd, and \
         en_sentence_templates.csv of conversationai/unintended-ml-bias-analysis at 9c7d91a",
    ),
    files: &[
        file(
            "bbq.tsv.gz",
            4_896_909,
            "d091e18e25682c49dbbfd6af29b221830ad8a972b66e2a2ba453d0d4a28c74a2",
        ),
        file(
            "madlibs_en.csv.gz",
            3_315_280,
            "8ed7d07f61000a95a2e18747b8f1fbf43d75257cd342cddef1f3533254374633",
        ),
        file(
            "winobias.tsv.gz",
            307_990,
            "14adc4907d16666b1bba157a4670ef877103f5a67c981db48b023a5ff29aeaa7",
        ),
        file(
            "winogender.tsv.gz",
            83_644,
            "bd69da16bf228cb8df63fd0843aec2d8b5c36a7f21bf8c7b168bcc83932556c8",
        ),
        file(
            "winogender_occupations-stats.tsv",
            1_578,
            "3f7f37c16381a70571356982ea7fe613ac700ad04a6d3b19b9f2be18248df567",
        ),
    ],
};

pub(super) const CEBAB: DataSet = DataSet {
    name: "cebab",
    content: "CEBaB v1.1: restaurant reviews with human concept edits",
    licence: "CC BY 4.0",
    source: "github.com/CEBaBing/CEBaB",
    by_hand: Some(
        "Take CEBaB-v1.1.zip of github.com/CEBaBing/CEBaB at 40e6851, merge train_inclusive, dev \
         and test, and keep the columns that docs/data.md names",
    ),
    files: &[
        file(
            "cebab.tsv.gz",
            3_140_881,
            "b4419320d5d32c42d565ec88ea192093a3b50172579b2384179c084c179738ca",
        ),
        file(
            "review_ratings_by_worker.csv.gz",
            1_543_325,
            "7fc141bf80e662e9b1041017af19af4df07666ddbfdf363b4747a786f9bc0c05",
        ),
    ],
};

pub(super) const EVALBIASBENCH: DataSet = DataSet {
    name: "evalbiasbench",
    content: "EvalBiasBench: 80 pairs for six judge biases",
    licence: "BSD-3-Clause",
    source: "github.com/ncsoft/offsetbias",
    by_hand: Some(
        "Flatten data/evalbiasbench/biasbench.json of github.com/ncsoft/offsetbias at 0bd16e4 to \
         one object a line",
    ),
    files: &[file(
        "evalbiasbench.jsonl",
        68_025,
        "97c4338f50e4768d20840f0162d6a5b95795127d3e4cb86d4f95cc2df4e0ba0c",
    )],
};

pub(super) const JUDGEBENCH: DataSet = DataSet {
    name: "judgebench",
    content: "JudgeBench pairs with scores of five reward models",
    licence: "MIT (data-set card)",
    source: "github.com/ScalerLab/JudgeBench",
    by_hand: Some(
        "Copy data/*.jsonl of github.com/ScalerLab/JudgeBench at e2c52c2, and take the scores of \
         five reward models out of outputs/*judge_name=reward_model*.jsonl",
    ),
    files: &[
        file(
            "pairs_claude35.jsonl.gz",
            920_039,
            "3b70504588e400613bf5744a20a345da8701b7150be9a30c9db0e6f3d7b70a62",
        ),
        file(
            "pairs_gpt4o.jsonl.gz",
            1_960_188,
            "d5106306b38dead1b2e964ecf5534a3e7b2fc4b8d3b8da327599edfcebd76042",
        ),
        file(
            "rm_scores_gpt4o.csv",
            200_701,
            "999b3973f6149b5e13b79f772f5bc4a1ebe250069621dbd226e6f287108f84e3",
        ),
    ],
};

pub(super) const LLMBAR: DataSet = DataSet {
    name: "llmbar",
    content: "LLMBar: 419 pairs with decisions of six judges",
    licence: "MIT",
    source: "github.com/princeton-nlp/LLMBar",
    by_hand: Some(
        "Merge the dataset.json files under Dataset/LLMBar of github.com/princeton-nlp/LLMBar at \
         900616b, and take the verdicts out of evaluators/*/*/result.json",
    ),
    files: &[
        file(
            "judge_decisions.csv.gz",
            338_708,
            "28c6369b9ede629ad33ce26805e00644cce10bc5acbd2c5f712b64c30136803f",
        ),
        file(
            "llmbar.jsonl.gz",
            554_003,
            "bae8c06cd36d6e7b53d23b6b453d0bb9b4b45dc312ac4784cb1ca1b1ae4fea85",
        ),
    ],
};

pub(super) const OPEN_BANDIT: DataSet = DataSet {
    name: "open-bandit",
    content: "Open Bandit Dataset, small version",
    licence: "Apache-2.0",
    source: "obp 0.4.1; github.com/st-tech/zr-obp",
    by_hand: Some(
        "Take obp/dataset/obd/{random,bts}/{men,all,women}/*.csv of the Python package obp 0.4.1, \
         number the hashed features, and drop affinities of zero",
    ),
    files: &[
        file(
            "all.csv.gz",
            986_243,
            "c53fa621fb39943527c2468ca5f57a017d7730d67384f9562fc585dd6b095fba",
        ),
        file(
            "all_items.csv",
            2_373,
            "e3b6880351849c074340d30db0e9ff540308c9ea650483bdb3e03c106bd28927",
        ),
        file(
            "men.csv.gz",
            1_013_067,
            "f4c99d6f1fb13078bb548599b41c5556f82ac625cac298d0113c19d1ec71ff47",
        ),
        file(
            "men_items.csv",
            1_001,
            "123143cc82803defcc4a3de33408df048486877ad0d06fa3719752a4641689dc",
        ),
        file(
            "women.csv.gz",
            1_014_977,
            "c315209f2adedc273541353acd18c914414bc68dc040cf9c1621374fa9feaf12",
        ),
        file(
            "women_items.csv",
            1_349,
            "a793cef6d7a26900ea558256c3375a9bb60d4b4f031fe14886f88cb9cbd9a179",
        ),
    ],
};

pub(super) const PNEUMONIAMNIST: DataSet = DataSet {
    name: "pneumoniamnist",
    content: "PneumoniaMNIST 28x28, reduced training split",
    licence: "CC BY 4.0",
    source: "MedMNIST v2, zenodo.org/records/10519652",
    by_hand: Some(
        "Put together github.com/varun19424/pneumonia_mnist at 9361a71 and the normal training \
         images of github.com/aksufatih/snn-medmnist at 5df79ab, and keep 1,800 of the training \
         images with pneumonia",
    ),
    files: &[
        file(
            "test-images.idx3-ubyte.gz",
            489_232,
            "70d53e4d2f732d4eea7fb4e12ef995c01ed44109755a40510dcbf654f5e7dda1",
        ),
        file(
            "test-labels.idx1-ubyte.gz",
            632,
            "f644c669271ad40e4c761c0894ccb12ce88a979f5b4b8e6e820c647d46916f69",
        ),
        file(
            "train-images.idx3-ubyte.gz",
            2_362_992,
            "5660b29664f201e43e5ee0330c4ef9c44e0e0f46784eb5b3163c2808f03d2f89",
        ),
        file(
            "train-labels.idx1-ubyte.gz",
            3_022,
            "0e4ae2d1938186f3cb95787c180dd9261df105e7c4b9a9b40f619778d4b8df6c",
        ),
        file(
            "val-images.idx3-ubyte.gz",
            410_832,
            "af141c71545ded672807c5adb660f643884c0a3e97c4f1e2c694e4a967836525",
        ),
        file(
            "val-labels.idx1-ubyte.gz",
            532,
            "145060dc2a9c34ab51b8a21546bc0fdfeb475c2c67b2c28cc92cfbf77d15faeb",
        ),
    ],
};

pub(super) const SYCOPHANCY_MWE: DataSet = DataSet {
    name: "sycophancy-mwe",
    content: "Model-written sycophancy probes, 1,000 items",
    licence: "CC BY 4.0",
    source: "github.com/anthropics/evals",
    by_hand: Some(
        "Take data/ood_prompts/{nlp_survey,political_typology}.jsonl of \
         github.com/kennyegan/Mitigating-Sycophancy at c4d6e57 and strip the marks of the chat \
         template",
    ),
    files: &[file(
        "sycophancy.jsonl.gz",
        1_149_909,
        "6e352bff6940b8673024c1e20b1fc984faa69476c0530100b50a2357183e1a43",
    )],
};

pub(super) const TRUTHFULQA: DataSet = DataSet {
    name: "truthfulqa",
    content: "TruthfulQA answers with human truth and informativeness labels",
    licence: "Apache-2.0",
    source: "github.com/sylinrl/TruthfulQA",
    by_hand: Some(
        "Join data/finetune_truth.jsonl and data/finetune_info.jsonl of \
         github.com/newBlanco/Modified_truthX at 39e91d4 on question and answer, average \
         duplicates, and copy data/mc_task.json",
    ),
    files: &[
        file(
            "answers_truth_info.jsonl.gz",
            3_033_888,
            "c6cedc28bd39c9ca17ddc7d2b3622f58af159d903f3aa58ef14fa31f0afdf558",
        ),
        file(
            "mc_task.json.gz",
            755_456,
            "b3799639bc76c939836d587de7d30b48d91012cb34be04806d33106ce06c162a",
        ),
    ],
};
