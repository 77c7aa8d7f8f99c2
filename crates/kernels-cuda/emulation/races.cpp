// Runs each kernel whose threads work together, for the thread sanitizer to look on: a thread of the host for each CUDA
// thread. The numbers do not matter here, other tests compare them; the sizes do: more than one block and warp, and
// lengths that do not divide the tiles.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "kernels.h"

namespace {

using Bytes = std::vector<unsigned char>;

// Bytes that are small numbers in every type: no infinity and no NaN.
Bytes numbers(size_t count) {
    Bytes bytes(count);
    unsigned state = 1;
    for (unsigned char& byte : bytes) byte = 0x20 | ((state = state * 1103515245 + 12345) >> 16 & 0x1f);
    return bytes;
}

struct Shape {
    unsigned grid[3];
    unsigned block[3];
    unsigned shared_bytes;
};

template <class... Parameters>
void launch(const char* name, Shape shape, Parameters... parameters) {
    size_t count;
    const CallboxKernel* kernels = callbox_kernels(&count);
    const CallboxKernel* kernel = nullptr;
    for (size_t i = 0; i < count; ++i) {
        if (strcmp(kernels[i].name, name) == 0) kernel = &kernels[i];
    }
    const size_t sizes[] = {sizeof(Parameters)...};
    if (!kernel || kernel->param_count != sizeof...(Parameters) ||
        memcmp(kernel->param_sizes, sizes, sizeof sizes) != 0) {
        fprintf(stderr, "no kernel %s with such parameters\n", name);
        exit(2);
    }
    void* pointers[] = {&parameters...};
    kernel->launch(shape.grid, shape.block, shape.shared_bytes, pointers);
    printf("%s\n", name);
}

void norm() {
    Bytes input = numbers(4 * 3 * 300), weight = numbers(4 * 300), out(4 * 3 * 300);
    for (const char* name : {"rmsnorm_f16", "rmsnorm_bf16", "rmsnorm_f32"}) {
        launch(name, {{3, 1, 1}, {128, 1, 1}, 0}, input.data(), weight.data(), out.data(), 300u, 300ll, 300ll, 1e-6f,
               0.0f);
    }
}

}  // namespace

int main() {
    norm();
}
