# Read by CPack for each kind of package: a .deb names the libraries' packages, a tarball
# brings the libraries.
list(GET CPACK_BUILD_SOURCE_DIRS 1 build)
set(CPACK_INSTALL_CMAKE_PROJECTS "${build};lowmem-train;program;/")
if(CPACK_GENERATOR STREQUAL "TGZ")
  list(APPEND CPACK_INSTALL_CMAKE_PROJECTS "${build};lowmem-train;libraries;/")
else()
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
endif()
