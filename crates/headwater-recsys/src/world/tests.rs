//! What a world's config refuses, and what is true of its items.

use super::*;
use proptest::prelude::*;

#[test]
fn a_config_survives_toml_and_refuses_unknown_fields() {
    let world = WorldConfig::conflict(0.3);
    let text = toml::to_string(&world).unwrap();
    assert_eq!(toml::from_str::<WorldConfig>(&text).unwrap(), world);
    let error = toml::from_str::<WorldConfig>("slot = 3").unwrap_err().to_string();
    assert!(error.contains("unknown field `slot`"), "{error}");
    let text = "[[devices]]\nshare = 1\n[devices.examination]\nmodel = \"power\"\neta = 1.0";
    assert!(toml::from_str::<WorldConfig>(text).unwrap_err().to_string().contains("eta"));
}

#[test]
fn errors_name_field_value_and_range() {
    let refused = |config: WorldConfig| config.check().unwrap_err().to_string();
    let world = WorldConfig::b;
    assert_eq!(
        refused(WorldConfig { candidates: Some(5), ..world() }),
        "WorldConfig.candidates = 5: allowed is slots to items"
    );
    assert!(refused(WorldConfig { drift: Some(0.1), ..world() }).contains("no users last"));
    assert!(refused(WorldConfig { items: 9, ..world() }).contains("items = 9"));
    assert!(refused(WorldConfig { devices: Vec::new(), ..world() }).contains("1 to 256 devices"));
    let odd = WorldConfig { features: 5, ..WorldConfig::conflict(0.5) };
    assert!(refused(odd).contains("cosine = 0.5"));
    let mut trusting = world();
    trusting.devices[0].trust = 1.0;
    assert!(refused(trusting).contains("trust = 1"));
    let mut large = world();
    large.devices = vec![DeviceConfig { share: 1e308, ..large.devices[0].clone() }; 2];
    assert!(refused(large).contains("share = inf"));
    // What a config claims is checked before anything is allocated by it.
    assert!(refused(WorldConfig { features: 1 << 40, ..world() }).contains("features = "));
    assert!(refused(WorldConfig { sessions: 1 << 40, ..world() }).contains("sessions = "));
    let many = WorldConfig { items: 1 << 30, features: 4096, ..world() };
    assert!(refused(many).contains("items x features"));
    // Single precision would make infinities of these.
    for size in [f64::NAN, f64::INFINITY, 1e300, -1e300] {
        assert!(refused(WorldConfig { personalisation: size, ..world() }).contains("1e6"));
        assert!(refused(WorldConfig { base_logit: size, ..world() }).contains("1e6"));
        assert!(refused(WorldConfig { quality_sd: size, ..world() }).contains("quality_sd"));
        let satisfaction = SatisfactionConfig { strength: size, ..Default::default() };
        let satisfied = WorldConfig { satisfaction: Some(satisfaction), ..world() };
        assert!(refused(satisfied).contains("SatisfactionConfig.strength"));
    }
}

#[test]
fn quality_and_legacy_are_independent() {
    let world = WorldConfig { items: 20_000, ..WorldConfig::b() }.check().unwrap();
    let items = Items::new(&world, &Streams::new(1));
    let [quality, legacy] = [items.quality(), items.legacy()]
        .map(|column| column.iter().map(|&x| f64::from(x)).collect::<Vec<_>>());
    let correlation = headwater_evaluation::baselines::pearson(&quality, &legacy).unwrap();
    // The standard error is 0.007.
    assert!(correlation.abs() < 0.025, "{correlation}");
}

proptest! {
    #[test]
    fn turning_keeps_lengths_and_gives_the_cosine(
        context in prop::collection::vec(-3f32..3.0, 6), cosine in -1f64..=1.0,
    ) {
        let mut turned = Vec::new();
        SatisfactionConfig { cosine, ..Default::default() }.turn(&context, &mut turned);
        let dot = |x: &[f32], y: &[f32]| -> f64 {
            x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
        };
        let square = dot(&context, &context);
        prop_assert!((dot(&turned, &turned) - square).abs() <= 1e-5 * square);
        prop_assert!((dot(&context, &turned) - cosine * square).abs() <= 1e-5 * square);
    }

    #[test]
    fn items_that_arrive_are_those_there_would_have_been(seed: u64, late in 1usize..40) {
        let world = WorldConfig::a().check().unwrap();
        let streams = Streams::new(seed);
        let mut grown = Items::new(&world, &streams);
        grown.grow(&world, 200 + late);
        let config = WorldConfig { items: 200 + late, ..WorldConfig::a() };
        prop_assert_eq!(grown, Items::new(&config.check().unwrap(), &streams));
    }
}
