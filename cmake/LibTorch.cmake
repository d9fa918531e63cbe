# LibTorch as imported targets, from LOWMEM_TORCH: a folder with include/ and lib/, such as
# the one scripts/setup.sh fills, an unpacked LibTorch download, or site-packages/torch.
#
# The TorchConfig.cmake that ships with it works too, but searches for a CUDA toolkit on its
# own terms and decides the GPU architectures; four imported targets do neither.
set(lowmem_deps "$ENV{LOWMEM_DEPS}")
if(NOT lowmem_deps)
  set(lowmem_deps "$ENV{XDG_CACHE_HOME}")
  if(NOT lowmem_deps)
    set(lowmem_deps "$ENV{HOME}/.cache")
  endif()
  string(APPEND lowmem_deps "/lowmem-train")
endif()
set(LOWMEM_TORCH "${lowmem_deps}/libtorch-2.11.0/torch" CACHE PATH "LibTorch >= 2.9")

if(NOT EXISTS "${LOWMEM_TORCH}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "No LibTorch in ${LOWMEM_TORCH}. Run scripts/setup.sh, or give its "
                      "folder (with include/ and lib/) as -DLOWMEM_TORCH=DIR.")
endif()

set(version_header "${LOWMEM_TORCH}/include/torch/headeronly/version.h")
if(NOT EXISTS "${version_header}")  # where releases before 2.10 have it
  set(version_header "${LOWMEM_TORCH}/include/torch/csrc/api/include/torch/version.h")
endif()
file(STRINGS "${version_header}" lines REGEX "define TORCH_VERSION_(MAJOR|MINOR) ")
string(REGEX REPLACE "[^0-9;]" "" numbers "${lines}")
list(JOIN numbers "." LOWMEM_TORCH_VERSION)
if(LOWMEM_TORCH_VERSION VERSION_LESS 2.9)
  message(FATAL_ERROR "The LibTorch in ${LOWMEM_TORCH} is ${LOWMEM_TORCH_VERSION}; 2.9 or later is "
                      "needed. scripts/setup.sh fetches 2.11.")
endif()

function(lowmem_imported target file)
  add_library(${target} SHARED IMPORTED)
  set_target_properties(${target} PROPERTIES
    IMPORTED_LOCATION "${LOWMEM_TORCH}/lib/${file}"
    INTERFACE_INCLUDE_DIRECTORIES
      "${LOWMEM_TORCH}/include;${LOWMEM_TORCH}/include/torch/csrc/api/include")
endfunction()

lowmem_imported(c10 libc10.so)
lowmem_imported(torch_cpu libtorch_cpu.so)
target_link_libraries(torch_cpu INTERFACE c10 Threads::Threads)
# torch_cpu of the CUDA wheels asks for libcudart and libcupti, found through its own rpath.
target_link_options(torch_cpu INTERFACE -Wl,--allow-shlib-undefined)
