// The table of emulated kernels, as other programs see it.
#pragma once

#include <stddef.h>

struct CallboxKernel {
    // As the kernel is called in the PTX.
    const char* name;
    // Runs it to its end. `parameters` points to one value for each parameter, as cuLaunchKernel takes them.
    void (*launch)(const unsigned grid[3], const unsigned block[3], unsigned shared_bytes, void** parameters);
    // Bytes of each parameter.
    const size_t* param_sizes;
    size_t param_count;
};

extern "C" const CallboxKernel* callbox_kernels(size_t* count);

// What went wrong in the calling thread's last launch, or null: a divergent barrier, a launch that no device takes.
extern "C" const char* callbox_last_fault(void);
