// The table of emulated kernels: one row each, from the very sources that the device's compiler gets.
#include "kernels.h"

#include <utility>

#include "scheduler.h"
#include "shim.h"

#include "../kernels/activation.cu"
#include "../kernels/attention.cu"
#include "../kernels/convert.cu"
#include "../kernels/fp4.cu"
#include "../kernels/gemm.cu"
#include "../kernels/norm.cu"
#include "../kernels/rope.cu"
#include "../kernels/statistics.cu"

namespace {

// Unpacks the parameters of a kernel.
template <auto kernel>
struct Unpacked;

template <class... Parameters, void (*kernel)(Parameters...)>
struct Unpacked<kernel> {
    static constexpr size_t count = sizeof...(Parameters);
    static constexpr size_t sizes[] = {sizeof(Parameters)...};

    static void call(void** parameters) { call(parameters, std::index_sequence_for<Parameters...>{}); }

    template <size_t... places>
    static void call(void** parameters, std::index_sequence<places...>) {
        kernel(*static_cast<Parameters*>(parameters[places])...);
    }
};

}  // namespace

#define ROW(kernel)                                                                                           \
    CallboxKernel {                                                                                           \
#kernel,                                                                                              \
            [](const unsigned* grid, const unsigned* block, unsigned shared_bytes, void** parameters) {       \
                callbox::run({#kernel, grid, block, shared_bytes, Unpacked<kernel>::call, parameters});       \
            },                                                                                                \
            Unpacked<kernel>::sizes, Unpacked<kernel>::count                                                  \
    }

static const CallboxKernel rows[] = {
    ROW(decode_f16),
    ROW(decode_bf16),
    ROW(decode_e4m3),
    ROW(decode_e5m2),
    ROW(decode_e2m1),
    ROW(encode_f16),
    ROW(encode_bf16),
    ROW(encode_e4m3),
    ROW(encode_e5m2),
    ROW(encode_e2m1),
    ROW(rmsnorm_f16),
    ROW(rmsnorm_bf16),
    ROW(rmsnorm_f32),
    ROW(fused_add_rmsnorm_f16),
    ROW(fused_add_rmsnorm_bf16),
    ROW(fused_add_rmsnorm_f32),
    ROW(layernorm_f16),
    ROW(layernorm_bf16),
    ROW(layernorm_f32),
    ROW(silu_and_mul_f16),
    ROW(silu_and_mul_bf16),
    ROW(silu_and_mul_f32),
    ROW(gelu_and_mul_f16),
    ROW(gelu_and_mul_bf16),
    ROW(gelu_and_mul_f32),
    ROW(gelu_tanh_and_mul_f16),
    ROW(gelu_tanh_and_mul_bf16),
    ROW(gelu_tanh_and_mul_f32),
    ROW(apply_rope_f16),
    ROW(apply_rope_bf16),
    ROW(apply_rope_f32),
    ROW(apply_rope_pos_ids_f16),
    ROW(apply_rope_pos_ids_bf16),
    ROW(apply_rope_pos_ids_f32),
    ROW(apply_rope_with_cos_sin_cache_f16),
    ROW(apply_rope_with_cos_sin_cache_bf16),
    ROW(apply_rope_with_cos_sin_cache_f32),
    ROW(attention_f16),
    ROW(attention_bf16),
    ROW(attention_f32),
    ROW(attention_e4m3),
    ROW(attention_e5m2),
    ROW(gemm_e4m3_e4m3),
    ROW(gemm_e4m3_e5m2),
    ROW(gemm_e5m2_e4m3),
    ROW(gemm_e5m2_e5m2),
    ROW(gemm_bf16_bf16),
    ROW(gemm_f16_f16),
    ROW(gemm_f32_f32),
    ROW(fp4_quantize_f16),
    ROW(fp4_quantize_bf16),
    ROW(fp4_quantize_f32),
    ROW(fp4_quantize_e4m3),
    ROW(mm_fp4),
    ROW(statistics_partial_f64),
    ROW(statistics_partial_f32),
    ROW(statistics_partial_f16),
    ROW(statistics_partial_bf16),
    ROW(statistics_partial_e4m3),
    ROW(statistics_partial_e5m2),
    ROW(statistics_partial_i64),
    ROW(statistics_partial_i32),
    ROW(statistics_partial_i16),
    ROW(statistics_partial_i8),
    ROW(statistics_partial_u8),
    ROW(statistics_finish_float),
    ROW(statistics_finish_integer),
};

extern "C" const CallboxKernel* callbox_kernels(size_t* count) {
    *count = sizeof rows / sizeof rows[0];
    return rows;
}

extern "C" const char* callbox_last_fault(void) { return callbox::last_fault(); }
