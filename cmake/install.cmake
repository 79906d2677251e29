# What `make install` puts where, and how another project finds it: find_package(tidings CONFIG), or pkg-config.
# The components tidings_dev and tidings_tools are the Debian packages; tidings_local is for `make install` alone.
include(CMakePackageConfigHelpers)

set(installed_targets tidings)
if(TARGET tidings_testing)
  list(APPEND installed_targets tidings_testing)
endif()
install(TARGETS ${installed_targets} EXPORT tidings_targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT tidings_dev
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT tidings_dev)
if(TARGET tidings_cli)
  install(TARGETS tidings_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT tidings_tools)
  get_target_property(pages tidings_cli PAGES)
  install(FILES ${pages}/tidings.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT tidings_tools)
  install(FILES ${pages}/tidings DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT tidings_tools)
  install(FILES ${pages}/tidings.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d
          COMPONENT tidings_tools)
  # Debian's zsh looks into site-functions below /usr/local only, and below /usr into a folder for packages.
  install(FILES ${pages}/_tidings DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions COMPONENT tidings_local)
  install(FILES ${pages}/_tidings DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions COMPONENT tidings_tools
          EXCLUDE_FROM_ALL)
endif()
install(DIRECTORY include/tidings DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT tidings_dev
        FILES_MATCHING PATTERN "*.hpp")

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tidings)
install(EXPORT tidings_targets NAMESPACE tidings:: DESTINATION ${package_dir} COMPONENT tidings_dev)
configure_package_config_file(cmake/tidings-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/tidings-config.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/tidings-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tidings-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/tidings-config-version.cmake
        DESTINATION ${package_dir} COMPONENT tidings_dev)

# The paths of the package file follow the file, so that a prefix chosen at install time is right.
file(RELATIVE_PATH prefix_from_pc /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" prefix_from_pc "${prefix_from_pc}")
# A static library needs its own libraries at every link, a shared one brings them along.
get_target_property(kind tidings TYPE)
if(kind STREQUAL "STATIC_LIBRARY")
  set(requires_keyword Requires)
else()
  set(requires_keyword Requires.private)
endif()
configure_file(cmake/tidings.pc.in ${CMAKE_CURRENT_BINARY_DIR}/tidings.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tidings.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT tidings_dev)
