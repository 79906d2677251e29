# The Debian packages of `make package`: libtidings-dev, to build against, and tidings, the command line.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME tidings)
set(CPACK_PACKAGE_CONTACT "Tidings developers <tidings@localhost.localdomain>")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # Each package has its own, as the first line of its description.
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(about "Typed events and commands between services, kept in one SQLite file that
several processes share, delivered at least once, retried, and never
silently lost.")

set(CPACK_COMPONENTS_ALL tidings_dev)
set(CPACK_DEBIAN_TIDINGS_DEV_PACKAGE_NAME libtidings-dev)
set(CPACK_DEBIAN_TIDINGS_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_TIDINGS_DEV_DESCRIPTION "event-driven messaging for C++20 (development files)
${about}

The headers, the library, the harness for tests, and what CMake and
pkg-config need to find them.")
# The library is static: whoever links it links these too, and its CMake package looks for them, in the versions that
# cmake/dependencies.cmake asks for.
set(needed "libboost1.81-dev (>= 1.81) | libboost-dev (>= 1.81)" "libsimdjson-dev (>= 3.0)" "libsqlite3-dev (>= 3.40)"
    "libssl-dev (>= 3)"
    "libcurl4-openssl-dev (>= 7.85)" "libfmt-dev (>= 9)" "libspdlog-dev (>= 1:1.10)" pkg-config)
list(JOIN needed ", " CPACK_DEBIAN_TIDINGS_DEV_PACKAGE_DEPENDS)
set(CPACK_DEBIAN_TIDINGS_DEV_PACKAGE_SUGGESTS cmake)

if(TARGET tidings_cli)
  list(APPEND CPACK_COMPONENTS_ALL tidings_tools)
  set(CPACK_DEBIAN_TIDINGS_TOOLS_PACKAGE_NAME tidings)
  set(CPACK_DEBIAN_TIDINGS_TOOLS_PACKAGE_SECTION utils)
  set(CPACK_DEBIAN_TIDINGS_TOOLS_PACKAGE_SHLIBDEPS ON)
  set(CPACK_DEBIAN_TIDINGS_TOOLS_DESCRIPTION "event-driven messaging from the command line
${about}

The command line publishes and consumes, looks at events, groups and dead
letters, and repairs.")
endif()

# Debian wants the licence below the name of each package; `make install` leaves that out.
foreach(component ${CPACK_COMPONENTS_ALL})
  string(TOUPPER CPACK_DEBIAN_${component}_PACKAGE_NAME name)
  install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DATADIR}/doc/${${name}} RENAME copyright COMPONENT ${component}
          EXCLUDE_FROM_ALL)
endforeach()
include(CPack)
