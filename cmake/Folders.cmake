# One static library a folder of src/, named lowmem_<folder>, so that a folder cannot link
# what ARCHITECTURE.md puts to its right. Sources are found by name: adding a file is enough.
#
#   lowmem_folder(<folder> LINKS <public...> [PRIVATE_LINKS <libraries...>]
#                 [EXCEPT <sources...>])
function(lowmem_folder folder)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINKS;PRIVATE_LINKS;EXCEPT")
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  if(LOWMEM_WITH_CUDA)
    file(GLOB device CONFIGURE_DEPENDS ${folder}/*.cu)
    list(FILTER sources EXCLUDE REGEX "/no_cuda[^/]*$")
    list(APPEND sources ${device})
  endif()
  if(arg_EXCEPT)
    list(REMOVE_ITEM sources ${arg_EXCEPT})
  endif()
  if(NOT sources)
    return()
  endif()
  add_library(lowmem_${folder} STATIC ${sources})
  target_include_directories(lowmem_${folder} PUBLIC ${CMAKE_SOURCE_DIR}/include
                             PRIVATE ${CMAKE_SOURCE_DIR}/src)
  target_link_libraries(lowmem_${folder} PUBLIC ${arg_LINKS}
                        PRIVATE ${arg_PRIVATE_LINKS})
endfunction()

# lowmem_folder() for a folder that needs LibTorch; the first one's precompiled header
# serves all, and tests of them (REUSE_FROM lowmem_memory).
function(lowmem_torch_folder folder)
  lowmem_folder(${folder} ${ARGN})
  if(folder STREQUAL memory)
    target_precompile_headers(lowmem_memory PRIVATE pch.h)
  else()
    target_precompile_headers(lowmem_${folder} REUSE_FROM lowmem_memory)
  endif()
endfunction()

# Adds to lowmem_<folder> its vector loops, lowmem_vector_kernels, compiled for one
# instruction set into the namespace <isa> (src/kernels/dispatch.h).
function(lowmem_vector_library folder isa)
  add_library(lowmem_${folder}_${isa} OBJECT ${lowmem_vector_kernels})
  target_include_directories(lowmem_${folder}_${isa} PRIVATE ${CMAKE_SOURCE_DIR}/include
                             ${CMAKE_SOURCE_DIR}/src)
  target_compile_definitions(lowmem_${folder}_${isa} PRIVATE LOWMEM_ISA=${isa})
  # Square roots and comparisons set no errno and raise no signal; wide vectors are passed
  # between inlined functions only. Optimised in every build: unoptimised, inline
  # functions of one instruction set would be shared with the others.
  target_compile_options(lowmem_${folder}_${isa} PRIVATE
                         -O3 -fno-math-errno -fno-trapping-math -Wno-psabi ${ARGN})
  target_link_libraries(lowmem_${folder} PRIVATE lowmem_${folder}_${isa})
endfunction()
