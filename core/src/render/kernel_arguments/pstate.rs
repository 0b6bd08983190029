//! Which mode of Intel's frequency driver suits a processor. A table of models, nothing else.

/// Models of family 6 up to and including the Skylake generation (the kernel's intel-family.h): Nehalem, Westmere,
/// Sandy Bridge, Ivy Bridge, Haswell, Broadwell, Skylake, and those that share Skylake's core
/// (Cascade Lake and Cooper Lake have the model number of Skylake-SP, Kaby Lake and Comet Lake their own).
const UP_TO_SKYLAKE: [u32; 30] = [
    0x1a, 0x1e, 0x1f, 0x2e, // Nehalem
    0x25, 0x2c, 0x2f, // Westmere
    0x2a, 0x2d, // Sandy Bridge
    0x3a, 0x3e, // Ivy Bridge
    0x3c, 0x3f, 0x45, 0x46, // Haswell
    0x3d, 0x47, 0x4f, 0x56, // Broadwell
    0x4e, 0x5e, 0x55, // Skylake; 0x55 also Cascade Lake and Cooper Lake
    0x8e, 0x9e, // Kaby Lake
    0xa5, 0xa6, // Comet Lake
    0x0f, 0x16, 0x17, 0x1d, // Core 2, which the driver doesn't know at all
];

/// `disable` up to the Skylake generation, where the driver in active mode has been seen to cause jitter;
/// `active` with hardware-managed P-states from Ice Lake on, as Intel recommends. A model that isn't known
/// counts as new: Ice Lake is of 2019, and a model that becomes known later then seldom changes the answer,
/// which would cost a reboot.
pub fn intel_mode(family_model: Option<(u32, u32)>) -> &'static str {
    match family_model {
        Some((6, model)) if UP_TO_SKYLAKE.contains(&model) => "disable",
        Some((family, _)) if family < 6 => "disable",
        _ => "active",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn up_to_skylake_is_disabled_and_the_rest_active() {
        for (model, mode) in [
            (0x55, "disable"), // Skylake-SP, Cascade Lake
            (0x4f, "disable"), // Broadwell-X
            (0x6a, "active"),  // Ice Lake-X
            (0x8f, "active"),  // Sapphire Rapids
        ] {
            assert_eq!(intel_mode(Some((6, model))), mode, "{model:#x}");
        }
        assert_eq!(intel_mode(None), "active");
        assert_eq!(intel_mode(Some((19, 1))), "active");
    }
}
