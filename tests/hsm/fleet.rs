//! Several HSMs with the same keys.

use holdfast_test_tokens::{Kind, Token};

use crate::rig::{ISOLATIONS, Part, Rig};

#[test]
fn one_fleet_of_two_makes_serves_and_the_record_names_the_hsm() {
    for isolation in ISOLATIONS {
        let (Some(soft), Some(kryoptic)) = (Token::softhsm2("soft"), Token::make(Kind::Kryoptic, "kryo"))
        else {
            return;
        };
        let rig = Rig::of(vec![Part::new(soft), Part::new(kryoptic)], isolation, |setup| setup);
        rig.until_active();
        let made: Vec<_> = (0..2)
            .map(|away| {
                rig.parts[away].faults.remove_token();
                rig.until_away(away);
                assert_eq!(rig.ping(), 200);
                assert_eq!(rig.who_serves(), rig.parts[1 - away].token.label());
                let made = rig.encrypt().ok();
                rig.parts[away].faults.insert_token();
                rig.until_active();
                made
            })
            .collect();
        // What one encrypted, the other decrypts.
        for (away, made) in made.iter().enumerate() {
            rig.parts[1 - away].faults.remove_token();
            rig.until_away(1 - away);
            rig.assert_decrypts(made);
            rig.parts[1 - away].faults.insert_token();
            rig.until_active();
        }
    }
}
