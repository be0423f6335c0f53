import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.server.datanode.DataNode;
import org.apache.hadoop.hdfs.server.namenode.NameNode;
import org.apache.hadoop.metrics2.lib.DefaultMetricsSystem;

/**
 * A real NameNode and a real DataNode in one process: `HdfsServer FOLDER HOST PORT [PROPERTY=VALUE...]`.
 *
 * Prints READY when both serve. What is stored survives the end of the process, however that comes.
 */
public final class HdfsServer {
  private HdfsServer() {}

  public static void main(String[] arguments) throws Exception {
    Thread.setDefaultUncaughtExceptionHandler((thread, problem) -> {
      problem.printStackTrace();
      Runtime.getRuntime().halt(1);
    });
    // formatting and serving in one process register the same metrics twice
    DefaultMetricsSystem.setMiniClusterMode(true);
    Path folder = Path.of(arguments[0]).toAbsolutePath();
    String host = arguments[1];
    Configuration configuration = new HdfsConfiguration();
    configuration.set("fs.defaultFS", "hdfs://" + host + ":" + arguments[2]);
    configuration.set("dfs.namenode.name.dir", folder.resolve("name").toUri().toString());
    configuration.set("dfs.datanode.data.dir", folder.resolve("data").toUri().toString());
    // everything listens on one address: the NameNode gives clients the one that the DataNode comes from
    for (String name : new String[] {"dfs.namenode.http-address", "dfs.datanode.address",
                                     "dfs.datanode.ipc.address", "dfs.datanode.http.address"}) {
      configuration.set(name, host + ":0");
    }
    configuration.setBoolean("dfs.namenode.datanode.registration.ip-hostname-check", false);
    configuration.setInt("dfs.replication", 1);
    configuration.setInt("dfs.namenode.handler.count", 4);
    configuration.setInt("dfs.namenode.safemode.extension", 0);
    configuration.setInt("dfs.namenode.safemode.min.datanodes", 1);
    for (int place = 3; place < arguments.length; place++) {
      String[] property = arguments[place].split("=", 2);
      configuration.set(property[0], property[1]);
    }
    if (!Files.exists(folder.resolve("name/current/VERSION"))) {
      NameNode.format(configuration);
    }
    NameNode names = NameNode.createNameNode(new String[0], configuration);
    DataNode.createDataNode(new String[0], configuration);
    while (names.getNamesystem().getNumLiveDataNodes() == 0 || names.isInSafeMode()) {
      Thread.sleep(50);
    }
    System.out.println("READY");
    Thread.currentThread().join();
  }
}
