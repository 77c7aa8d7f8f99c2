#![doc = include_str!("../README.md")]

/// Normalises `x` by its root mean square.
#[cfg_attr(feature = "recorded", callbox::record(kwargs(eps)))]
#[inline(never)]
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f32) -> Result<Vec<f32>, String> {
    if x.len() != weight.len() {
        return Err(format!("{} elements and {} weights", x.len(), weight.len()));
    }
    let mean = x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
    let scale = (mean + eps).sqrt().recip();
    Ok(x.iter().zip(weight).map(|(x, weight)| x * scale * weight).collect())
}
