// Scalar types of the kernels, and their conversions to and from f32.
//
// The types are our own, so that one text compiles for the device and, for the tests, for the host. Rounding is to
// nearest with ties to even; the 8- and 4-bit floats saturate, as CUDA's conversions do. Sources: IEEE 754 (f16),
// the OCP 8-bit Floating Point Specification (e4m3, e5m2) and the OCP Microscaling Formats Specification (e2m1, e8m0).
#pragma once

#include "planted.cuh"

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i8 = signed char;
using i16 = short;
using i32 = int;
using i64 = long long;

struct f16 {
    u16 bits;
};
struct bf16 {
    u16 bits;
};
// torch.float8_e4m3fn
struct e4m3 {
    u8 bits;
};
struct e5m2 {
    u8 bits;
};

// Element types that are chosen when a kernel runs. The launching side has the same numbers.
enum class Type : u32 { f32 = 0, f16 = 1, bf16 = 2, e4m3 = 3, e5m2 = 4 };

__device__ inline float from_bits(u32 bits) { return __uint_as_float(bits); }
__device__ inline u32 to_bits(float value) { return __float_as_uint(value); }

// The compiler for the device knows no INFINITY.
__device__ inline float infinity() { return from_bits(0x7f800000u); }

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(double x) { return static_cast<float>(x); }
__device__ inline float to_float(bf16 x) { return from_bits(static_cast<u32>(x.bits) << 16); }

__device__ inline float to_float(f16 x) {
    const u32 magnitude = x.bits & 0x7fffu;
    // The multiplication corrects the exponent, and makes normal numbers of the subnormal ones.
    u32 bits = to_bits(from_bits(magnitude << 13) * 0x1p112f);
    if (magnitude >= 0x7c00u) bits = magnitude << 13 | 0x7f800000u;
    return from_bits(bits | (x.bits & 0x8000u) << 16);
}

// The upper byte of an f16.
__device__ inline float to_float(e5m2 x) { return to_float(f16{static_cast<u16>(x.bits << 8)}); }

__device__ inline float to_float(e4m3 x) {
    const u32 magnitude = x.bits & 0x7fu;
    u32 bits = to_bits(from_bits(magnitude << 20) * 0x1p120f);
    if (magnitude == 0x7fu) bits = 0x7fc00000u;
    return from_bits(bits | (x.bits & 0x80u) << 24);
}

// Of the integers: rounded to nearest.
__device__ inline float to_float(i8 x) { return static_cast<float>(x); }
__device__ inline float to_float(u8 x) { return static_cast<float>(x); }
__device__ inline float to_float(i16 x) { return static_cast<float>(x); }
__device__ inline float to_float(i32 x) { return static_cast<float>(x); }
__device__ inline float to_float(i64 x) { return static_cast<float>(x); }

// Rounds the magnitude of a float, given as bits, to a mantissa that is `shift` bits shorter; ties to even.
__device__ inline u32 rounded_off(u32 magnitude, u32 shift) {
    const u32 tie = PLANTED(BUG_WRONG_ROUNDING) ? 1 : magnitude >> shift & 1;
    return (magnitude + (1u << (shift - 1)) - 1 + tie) >> shift;
}

// Rounds a magnitude to multiples of the last place of `anchor`, which is far greater, and returns their number.
__device__ inline u32 counted(float magnitude, float anchor) { return to_bits(magnitude + anchor) - to_bits(anchor); }

template <class T>
__device__ T from_float(float x);

template <>
__device__ inline float from_float<float>(float x) {
    return x;
}

template <>
__device__ inline bf16 from_float<bf16>(float x) {
    const u32 bits = to_bits(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return {static_cast<u16>(bits >> 16 | 0x40u)};
    return {static_cast<u16>(rounded_off(bits, 16))};
}

template <>
__device__ inline f16 from_float<f16>(float x) {
    const u32 sign = to_bits(x) >> 16 & 0x8000u, magnitude = to_bits(x) & 0x7fffffffu;
    u32 code;
    if (magnitude > 0x7f800000u) {
        code = 0x7e00u | (magnitude >> 13 & 0x3ffu);
    } else if (magnitude >= 0x477ff000u) {  // 65520 is the first that rounds beyond the largest
        code = 0x7c00u;
    } else if (magnitude < 0x38800000u) {  // subnormal: multiples of 2^-24
        code = counted(from_bits(magnitude), 0.5f);
    } else {
        code = rounded_off(magnitude, 13) - (112u << 10);
    }
    return {static_cast<u16>(sign | code)};
}

template <>
__device__ inline e4m3 from_float<e4m3>(float x) {
    const u32 sign = to_bits(x) >> 24 & 0x80u, magnitude = to_bits(x) & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return {0x7f};
    u32 code;
    if (magnitude >= 0x43e00000u) {  // 448, the largest
        code = 0x7eu;
    } else if (magnitude < 0x3c800000u) {  // subnormal: multiples of 2^-9
        code = counted(from_bits(magnitude), 16384.0f);
    } else {
        code = rounded_off(magnitude, 20) - (120u << 3);
    }
    return {static_cast<u8>(sign | code)};
}

template <>
__device__ inline e5m2 from_float<e5m2>(float x) {
    const u32 sign = to_bits(x) >> 24 & 0x80u, magnitude = to_bits(x) & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return {0x7f};
    u32 code;
    if (magnitude >= 0x47600000u) {  // 57344, the largest
        code = 0x7bu;
    } else if (magnitude < 0x38800000u) {  // subnormal: multiples of 2^-16
        code = counted(from_bits(magnitude), 128.0f);
    } else {
        code = rounded_off(magnitude, 21) - (112u << 2);
    }
    return {static_cast<u8>(sign | code)};
}

// The value of an e2m1 code: 0, .5, 1, 1.5, 2, 3, 4 or 6, with the sign in bit 3.
__device__ inline float e2m1_to_float(u32 code) {
    return from_bits(to_bits(from_bits((code & 7u) << 22) * 0x1p126f) | (code & 8u) << 28);
}

// The nearest e2m1 code, ties to the even code; NaN gives the largest of its sign.
__device__ inline u32 e2m1_from_float(float x) {
    const float magnitude = fabsf(x);
    u32 code = 7;
    if (magnitude <= 5.0f) code = 6;
    if (magnitude < 3.5f) code = 5;
    if (magnitude <= 2.5f) code = 4;
    if (magnitude < 1.75f) code = 3;
    if (magnitude <= 1.25f) code = 2;
    if (magnitude < 0.75f) code = 1;
    if (magnitude <= 0.25f) code = 0;
    return code | (to_bits(x) >> 28 & 8u);
}

// The value of an e8m0 code: 2^(code - 127), NaN for 255.
__device__ inline float e8m0_to_float(u32 code) {
    if (code == 0xffu) return from_bits(0x7fc00000u);
    // 2^-127 lies below f32's smallest normal number.
    return code == 0 ? from_bits(1u << 22) : from_bits(code << 23);
}

// Reads an element of a type that is known when the kernel runs. A call, as `store` is: where sixteen elements of a
// product are written one after the other, all conversions sixteen times over would take minutes to compile.
__device__ __noinline__ float load(const void* elements, i64 place, Type type) {
    switch (type) {
        case Type::f16: return to_float(static_cast<const f16*>(elements)[place]);
        case Type::bf16: return to_float(static_cast<const bf16*>(elements)[place]);
        case Type::e4m3: return to_float(static_cast<const e4m3*>(elements)[place]);
        case Type::e5m2: return to_float(static_cast<const e5m2*>(elements)[place]);
        default: return static_cast<const float*>(elements)[place];
    }
}

// Rounds a value once to an element of a type that is known when the kernel runs.
__device__ __noinline__ void store(void* elements, i64 place, Type type, float value) {
    switch (type) {
        case Type::f16: static_cast<f16*>(elements)[place] = from_float<f16>(value); break;
        case Type::bf16: static_cast<bf16*>(elements)[place] = from_float<bf16>(value); break;
        case Type::e4m3: static_cast<e4m3*>(elements)[place] = from_float<e4m3>(value); break;
        case Type::e5m2: static_cast<e5m2*>(elements)[place] = from_float<e5m2>(value); break;
        default: static_cast<float*>(elements)[place] = value;
    }
}
