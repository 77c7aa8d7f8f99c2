// CUDA threads as threads of the host, for the thread sanitizer: it sees which accesses no barrier orders.
//
// Threads that diverge hang here; fibers.cpp finds those.
#include <barrier>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "scheduler.h"
#include "shim.h"

thread_local uint3 threadIdx, blockIdx;
thread_local dim3 blockDim, gridDim;

namespace callbox {
namespace {

constexpr unsigned warp_size = 32;

struct Warp {
    explicit Warp(unsigned lanes) : barrier(lanes) {}
    std::barrier<> barrier;
    // Two rooms, as in fibers.cpp.
    uint64_t given[2][warp_size] = {};
};

struct Block {
    explicit Block(unsigned n_threads, unsigned shared_bytes)
        : barrier(n_threads), shared(malloc(shared_bytes), free) {
        for (unsigned first = 0; first < n_threads; first += warp_size) {
            warps.push_back(std::make_unique<Warp>(n_threads - first < warp_size ? n_threads - first : warp_size));
        }
    }
    std::barrier<> barrier;
    std::vector<std::unique_ptr<Warp>> warps;
    std::unique_ptr<void, decltype(&free)> shared;
};

Block* block;
thread_local Warp* warp;
thread_local unsigned n_exchanges;

void run_thread(const Launch& launch, unsigned number) {
    const unsigned *size = launch.block, *grid = launch.grid;
    threadIdx = {number % size[0], number / size[0] % size[1], number / size[0] / size[1]};
    blockDim = {size[0], size[1], size[2]};
    gridDim = {grid[0], grid[1], grid[2]};
    warp = block->warps[number / warp_size].get();
    const unsigned n_blocks = grid[0] * grid[1] * grid[2];
    for (unsigned i = 0; i < n_blocks; ++i) {
        blockIdx = {i % grid[0], i / grid[0] % grid[1], i / grid[0] / grid[1]};
        launch.body(launch.parameters);
        // Shared memory is the next block's from here.
        block->barrier.arrive_and_wait();
    }
}

}  // namespace

void* dynamic_shared() { return block->shared.get(); }

void block_barrier(Place) { block->barrier.arrive_and_wait(); }

void warp_barrier(unsigned, Place) { warp->barrier.arrive_and_wait(); }

void exchange(unsigned, const void* given, void* taken, size_t size, unsigned from, Place) {
    const unsigned room = n_exchanges++ % 2;
    memcpy(&warp->given[room][lane()], given, size);
    warp->barrier.arrive_and_wait();
    memcpy(taken, &warp->given[room][from], size);
}

const char* last_fault() { return nullptr; }

void run(const Launch& launch) {
    const unsigned n_threads = launch.block[0] * launch.block[1] * launch.block[2];
    Block own(n_threads, launch.shared_bytes);
    block = &own;
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < n_threads; ++i) threads.emplace_back(run_thread, std::cref(launch), i);
    for (std::thread& thread : threads) thread.join();
}

}  // namespace callbox
