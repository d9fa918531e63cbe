# One static library a folder of src/, named lowmem_<folder>, so that a folder cannot link
# what ARCHITECTURE.md puts to its right. Sources are found by name: adding a file is enough.
#
#   lowmem_folder(<folder> LINKS <public...> [PRIVATE_LINKS <libraries...>])
function(lowmem_folder folder)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LINKS;PRIVATE_LINKS")
  file(GLOB sources CONFIGURE_DEPENDS ${folder}/*.cpp)
  if(LOWMEM_WITH_CUDA)
    file(GLOB device CONFIGURE_DEPENDS ${folder}/*.cu)
    list(FILTER sources EXCLUDE REGEX "/no_cuda[^/]*$")
    list(APPEND sources ${device})
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
