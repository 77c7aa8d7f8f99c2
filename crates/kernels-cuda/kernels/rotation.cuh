// Rotary position embedding (Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021): pairs of
// elements turn by an angle that grows with the position.
#pragma once

#include "types.cuh"

// How fast pairs turn.
struct Frequencies {
    // The rotary base.
    float theta;
    // Divides frequencies (Chen et al., "Extending Context Window of Large Language Models via Positional
    // Interpolation", 2023).
    float scale;
    // Where `old_context_len` is positive, only slow frequencies are divided, and those between are blended, as Llama
    // 3.1 does it (Grattafiori et al., "The Llama 3 Herd of Models", 2024).
    float low_freq_factor;
    float high_freq_factor;
    float old_context_len;
};
static_assert(sizeof(Frequencies) == 20);

// Radians per token of a pair, one of `rotary_dim / 2`.
__device__ inline float frequency_of(const Frequencies& frequencies, u32 pair, u32 rotary_dim) {
    const float exponent = static_cast<float>(2 * pair) / static_cast<float>(rotary_dim);
    const float frequency = 1.0f / powf(frequencies.theta, exponent);
    if (!(frequencies.old_context_len > 0.0f)) return frequency / frequencies.scale;
    const float turns = frequencies.old_context_len * frequency / 6.2831855f;
    const float range = frequencies.high_freq_factor - frequencies.low_freq_factor;
    const float fast = fminf(fmaxf((turns - frequencies.low_freq_factor) / range, 0.0f), 1.0f);
    return (1.0f - fast) * frequency / frequencies.scale + fast * frequency;
}

// Turns a pair by an angle in radians.
__device__ inline void turn(float& a, float& b, float cosine, float sine) {
    const float first = a * cosine - b * sine;
    b = b * cosine + a * sine;
    a = first;
}
