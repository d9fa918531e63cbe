# `cmake --install`, and packages by `cpack`: docs/install.md says what is where and how the
# installed program finds LibTorch.
set(home lib/lowmem-train)  # the program, behind the launcher that bin/ holds
set(generated ${CMAKE_BINARY_DIR}/install)

set_target_properties(lowmem-train PROPERTIES INSTALL_RPATH "$ORIGIN")
install(TARGETS lowmem-train RUNTIME DESTINATION ${home} COMPONENT program)
configure_file(${CMAKE_SOURCE_DIR}/cmake/launcher.sh.in ${generated}/launcher @ONLY)
install(PROGRAMS ${generated}/launcher DESTINATION bin RENAME lowmem-train
        COMPONENT program)
install(PROGRAMS ${CMAKE_SOURCE_DIR}/scripts/gpu_check/libtorch.sh DESTINATION ${home}
        COMPONENT program)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/configs DESTINATION share/lowmem-train
        COMPONENT program)
install(FILES ${CMAKE_SOURCE_DIR}/README.md ${CMAKE_SOURCE_DIR}/ARCHITECTURE.md
        ${CMAKE_SOURCE_DIR}/LICENSE DESTINATION share/doc/lowmem-train COMPONENT program)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs DESTINATION share/doc/lowmem-train
        COMPONENT program)

# Licences of libraries that are headers alone, and so part of the program.
foreach(package libcli11-dev nlohmann-json3-dev libxxhash-dev)
  if(EXISTS /usr/share/doc/${package}/copyright)
    install(FILES /usr/share/doc/${package}/copyright COMPONENT program
            DESTINATION share/doc/lowmem-train/licenses/${package})
  endif()
endforeach()

# What the program prints of itself.
install(CODE "
  function(printed file)
    execute_process(COMMAND \"$<TARGET_FILE:lowmem-train>\" \${ARGN}
                    OUTPUT_FILE \"${generated}/\${file}\" COMMAND_ERROR_IS_FATAL ANY)
  endfunction()
  printed(completion completion bash)
  printed(lowmem-train.1 manual man)" COMPONENT program)
install(FILES ${generated}/completion DESTINATION share/bash-completion/completions
        RENAME lowmem-train COMPONENT program)
install(FILES ${generated}/lowmem-train.1 DESTINATION share/man/man1 COMPONENT program)

# The distribution's libraries that it links, for machines that lack them: in the tarball.
configure_file(${CMAKE_SOURCE_DIR}/cmake/InstallLibraries.cmake.in
               ${generated}/libraries.cmake.in @ONLY)
file(GENERATE OUTPUT ${generated}/libraries.cmake INPUT ${generated}/libraries.cmake.in)
install(SCRIPT ${generated}/libraries.cmake COMPONENT libraries EXCLUDE_FROM_ALL)

set(CPACK_PACKAGE_NAME lowmem-train)
set(CPACK_PACKAGE_VENDOR "lowmem-train")
set(CPACK_PACKAGE_CONTACT "the lowmem-train developers")
set(CPACK_PACKAGE_FILE_NAME
    lowmem-train-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR})
set(CPACK_PACKAGE_DIRECTORY ${CMAKE_BINARY_DIR})
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
set(CPACK_THREADS 0)
set(CPACK_GENERATOR TGZ)
set(CPACK_PROJECT_CONFIG_FILE ${CMAKE_SOURCE_DIR}/cmake/PackageParts.cmake)

find_program(LOWMEM_SHLIBDEPS dpkg-shlibdeps)
mark_as_advanced(LOWMEM_SHLIBDEPS)
if(LOWMEM_SHLIBDEPS)
  list(APPEND CPACK_GENERATOR DEB)
endif()
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)  # lowmem-train_VERSION_ARCHITECTURE.deb
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS "bash-completion, python3")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
    "Trains all weights of a Llama from a Hugging Face folder and JSONL files, and needs
no Python to run. LibTorch ${LOWMEM_TORCH_VERSION} is not in the package: it is that of
Python's torch, or the folder that LOWMEM_TORCH names.")
# Depends on the packages of the libraries it links, but not on LibTorch, which has none.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${LOWMEM_TORCH}/lib)
if(LOWMEM_WITH_CUDA)
  list(APPEND CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CUDAToolkit_LIBRARY_DIR})
endif()
include(CPack)
